import type { SentMessage } from "../load/receipts.ts";
import { call } from "./setup.ts";

/** What a person got on WhatsApp. */
export interface ReceivedMessage extends SentMessage {
  text: string;
  receivedAt: number;
}

const pageSize = 20_000;

/** Reads what the simulated platform got, each message once. */
export interface Inbox {
  readonly messages: readonly ReceivedMessage[];
  read(): Promise<void>;
  /** Whether every webhook that the platform promised was taken. */
  isIdle(): Promise<boolean>;
}

export function openInbox(simulatorUrl: string): Inbox {
  const messages: ReceivedMessage[] = [];
  let after = 0;
  return {
    messages,
    async read() {
      for (;;) {
        const page = await call<Page>(simulatorUrl, `/_sim/messages?channel=whatsapp&after=${after}&limit=${pageSize}`);
        for (const { to, text, received_at, provider_message_id, raw } of page.data) {
          const deliveryId = raw.biz_opaque_callback_data;
          const receivedAt = Date.parse(received_at);
          messages.push({ to, text, receivedAt, deliveryId, providerMessageId: provider_message_id });
        }
        after = page.next_after;
        if (page.data.length < pageSize) return;
      }
    },
    isIdle: async () => (await call<{ idle: boolean }>(simulatorUrl, "/_sim/idle")).idle,
  };
}

interface Page {
  data: {
    to: string;
    text: string;
    received_at: string;
    provider_message_id: string;
    raw: { biz_opaque_callback_data: string };
  }[];
  next_after: number;
}

/** How far receipts go by themselves. */
export async function sendReceiptsUpTo(simulatorUrl: string, status: "sent" | "read"): Promise<void> {
  await call(simulatorUrl, "/_sim/settings", null, { channel: "whatsapp", auto_receipts: status });
}
