import { hiding, jsonHeaders, postJson } from "../call.ts";
import type { ConnectorIo, Exchange, PersonSignal, SendOutcome } from "../connector.ts";
import { methodUrl, redactedUrl, secretsOf, type TelegramAccount } from "./credentials.ts";
import { outcomeOf } from "./outcome.ts";

/** For up to 5 s, or until a message is sent. Source: Telegram Bot API, sendChatAction. */
export async function showTyping(
  { identifier }: PersonSignal,
  account: TelegramAccount,
  io: ConnectorIo,
): Promise<SendOutcome> {
  const method = "sendChatAction";
  const body = { chat_id: Number(identifier), action: "typing" };
  const exchange = (answer: Exchange["answer"]): Exchange => ({
    request: { method: "POST", url: redactedUrl(account, method), body },
    answer,
  });
  const hide = hiding(...secretsOf(account.credentials));
  const call = { url: methodUrl(account, method), headers: jsonHeaders, body: JSON.stringify(body) };
  const { answer, lost } = await postJson(io, call, exchange, hide);
  return lost ?? outcomeOf(answer, io.clock.now(), "typing", exchange, hide);
}
