import { until } from "../../../server/src/testing/until.ts";
import { defaultTelegramAccount, defaultWhatsAppAccount } from "../default-accounts.ts";
import type { ReceivedMessage } from "../messages.ts";
import { type SimulatorOptions, startSimulator } from "../simulator.ts";

interface Reply {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests read bodies of many shapes
  body: any;
}

/** A simulator in this process, and short ways to drive it as a business, a person and a tester. */
export async function openDriver(options: SimulatorOptions = {}) {
  // Most tests are not about who may write first.
  const simulator = await startSimulator({ seed: "test", enforceWindow: false, ...options });
  const { url } = simulator;
  const control = (method: string, path: string, body?: unknown) => call(`${url}/_sim/${path}`, method, body);
  return {
    url,
    simulator,
    control,
    graph: (method: string, path: string, body?: unknown) =>
      call(`${url}/whatsapp/v25.0/${path}`, method, body, {
        authorization: `Bearer ${defaultWhatsAppAccount.access_token}`,
      }),
    sendText: (to: string, text: string, more: object = {}) =>
      call(
        `${url}/whatsapp/${defaultWhatsAppAccount.phone_number_id}/messages`,
        "POST",
        { messaging_product: "whatsapp", to, type: "text", text: { body: text }, ...more },
        { authorization: `Bearer ${defaultWhatsAppAccount.access_token}` },
      ),
    /** A business uploads a file to WhatsApp. */
    async upload(content: Blob | string, type: string, fields: Record<string, string> = {}): Promise<Reply> {
      const form = new FormData();
      const { filename = "file", ...more } = fields;
      for (const [name, value] of Object.entries({ messaging_product: "whatsapp", type, ...more })) {
        form.set(name, value);
      }
      form.set("file", typeof content === "string" ? new Blob([content], { type }) : content, filename);
      return readReply(
        await fetch(`${url}/whatsapp/v25.0/${defaultWhatsAppAccount.phone_number_id}/media`, {
          method: "POST",
          headers: { authorization: `Bearer ${defaultWhatsAppAccount.access_token}` },
          body: form,
        }),
      );
    },
    bot: (method: string, parameters: object = {}) =>
      call(`${url}/telegram/bot${defaultTelegramAccount.bot_token}/${method}`, "POST", parameters),
    async messages(query = ""): Promise<ReceivedMessage[]> {
      return (await control("GET", `messages${query}`)).body.data;
    },
    idle: () => until("no webhook is under way", async () => (await control("GET", "idle")).body.idle === true),
    [Symbol.asyncDispose]: () => simulator.close(),
  };
}

export type Driver = Awaited<ReturnType<typeof openDriver>>;

export async function call(url: string, method: string, body?: unknown, headers: object = {}): Promise<Reply> {
  const response = await fetch(url, {
    method,
    headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return readReply(response);
}

async function readReply(response: Response): Promise<Reply> {
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === "" ? undefined : JSON.parse(text) };
}
