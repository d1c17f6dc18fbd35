import type { ConnectorIo, PersonSignal, SendOutcome } from "../connector.ts";
import type { TelegramAccount } from "./credentials.ts";
import { callMethod } from "./send.ts";

/** For up to 5 s, or until a message is sent. Source: Telegram Bot API, sendChatAction. */
export async function showTyping(
  { identifier }: PersonSignal,
  account: TelegramAccount,
  io: ConnectorIo,
): Promise<SendOutcome> {
  const parameters = { chat_id: Number(identifier), action: "typing" };
  const call = { method: "sendChatAction", parameters, redacted: parameters } as const;
  return (await callMethod(account, io, call, "typing")).outcome;
}
