import { call } from "./setup.ts";

/** What a person got on WhatsApp. */
interface ReceivedMessage {
  /** The address, such as `whatsapp:+5511999991111`. */
  to: string;
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
        for (const { to, text, received_at } of page.data) {
          messages.push({ to: `whatsapp:${to}`, text, receivedAt: Date.parse(received_at) });
        }
        after = page.next_after;
        if (page.data.length < pageSize) return;
      }
    },
    isIdle: async () => (await call<{ idle: boolean }>(simulatorUrl, "/_sim/idle")).idle,
  };
}

interface Page {
  data: { to: string; text: string; received_at: string }[];
  next_after: number;
}
