import { until } from "../../server/src/testing/until.ts";

/** A file that a platform got from us. Before the platform has fetched a link, only the caption is known. */
export interface PlatformMedia {
  media_id: string | null;
  mime_type: string | null;
  filename: string | null;
  bytes: number | null;
  /** Lower-case hex. */
  sha256: string | null;
  caption: string | null;
}

/** What a platform got from us. */
export interface PlatformMessage {
  channel: string;
  account: string;
  /** The identifier of the address, without its channel. */
  to: string;
  provider_message_id: string;
  kind: string;
  text: string | null;
  media: PlatformMedia | null;
  // biome-ignore lint/suspicious/noExplicitAny: each platform's own request
  raw: any;
  received_at: string;
}

/** A read mark or typing that a person was shown. */
interface PlatformSignal {
  channel: string;
  to: string | null;
  kind: "read" | "typing";
  provider_message_id: string | null;
}

export interface Fault {
  channel: string;
  fault:
    | "rate_limit"
    | "server_error"
    | "timeout_after_accept"
    | "connection_reset"
    | "slow"
    | "down"
    | "permanent"
    | "window_closed"
    | "duplicate_webhooks"
    | "reorder_webhooks"
    | "drop_webhooks";
  probability?: number;
  count?: number;
  delay_ms?: number;
  for_ms?: number;
  to?: string;
  call?: "send" | "upload" | "download";
  retry_after_s?: number;
  code?: number;
  destroy?: boolean;
}

interface SimulatorSettings {
  auto_receipts?: boolean | "sent" | "delivered" | "read";
  receipt_delay_ms?: number;
  latency_ms?: number;
  time_factor?: number;
  throughput_per_second?: number;
  enforce_window?: boolean;
}

export type InboundPayload =
  | { type: "text"; text: string }
  | { type: "location"; latitude: number; longitude: number; name?: string }
  | { type: "reaction"; message_id: string; emoji: string }
  | {
      type: "file";
      content_type: string;
      filename?: string;
      caption?: string;
      /** The bytes in base64. */
      content?: string;
      /** Instead of `content`: the bytes to generate. */
      size?: number;
    };

interface Inbound {
  channel: string;
  from: string;
  name?: string;
  payload: string | InboundPayload;
  /** The platform's id of the message that is replied to. */
  reply_to?: string;
}

/** Drives and watches the platform simulator over its control surface. */
export type SimulatorClient = ReturnType<typeof openSimulatorClient>;

const pageSize = 20_000;

export function openSimulatorClient(url: string) {
  let counted = 0;
  let countedUpTo = 0;

  async function control<Body>(method: string, path: string, body?: object): Promise<Body> {
    const response = await fetch(`${url}/_sim/${path}`, {
      method,
      ...(body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} /_sim/${path}: ${response.status} ${text}`);
    return (text === "" ? null : JSON.parse(text)) as Body;
  }

  async function isIdle(): Promise<boolean> {
    return (await control<{ idle: boolean }>("GET", "idle")).idle;
  }

  return {
    url,
    /** What the platforms got, oldest first, page after page. Throws when some of it is forgotten already. */
    async messages(query: { channel?: string; to?: string } = {}): Promise<PlatformMessage[]> {
      const found: PlatformMessage[] = [];
      for (let after = 0; ; ) {
        const search = new URLSearchParams({ ...query, limit: String(pageSize), after: String(after) });
        type Page = { data: PlatformMessage[]; next_after: number; forgotten: number };
        const page = await control<Page>("GET", `messages?${search}`);
        if (page.forgotten > 0) throw new Error(`The simulator has forgotten ${page.forgotten} messages.`);
        found.push(...page.data);
        if (page.data.length < pageSize) return found;
        after = page.next_after;
      }
    },
    /** How many were received so far; cheap to poll. */
    async count(): Promise<number> {
      for (;;) {
        type Page = { data: unknown[]; next_after: number };
        const { data, next_after } = await control<Page>("GET", `messages?limit=${pageSize}&after=${countedUpTo}`);
        if (data.length === 0) return counted;
        counted += data.length;
        countedUpTo = next_after;
      }
    },
    /** Read marks and typing that the platforms received, oldest first. */
    signals: async (query: { channel?: string; to?: string } = {}) =>
      (await control<{ data: PlatformSignal[] }>("GET", `signals?${new URLSearchParams(query)}`)).data,
    /** A person writes to the business. */
    inbound: (inbound: Inbound) => control<{ provider_message_id: string }>("POST", "inbound", inbound),
    receipt: (receipt: { provider_message_id: string; status: string; channel?: string; code?: number }) =>
      control<unknown>("POST", "receipt", receipt),
    break: (fault: Fault) => control<{ fault_id: string }>("POST", "faults", fault),
    faults: async () => (await control<{ data: (Fault & { hits: number })[] }>("GET", "faults")).data,
    /** The platform forgets the files that it has. */
    expireMedia: (channel: string) => control<null>("POST", "media/expire", { channel, what: "media" }),
    repair: () => control<null>("DELETE", "faults"),
    settings: (channel: string, settings: SimulatorSettings) =>
      control<unknown>("POST", "settings", { channel, ...settings }),
    accounts: async () => (await control<{ data: Record<string, unknown>[] }>("GET", "accounts")).data,
    /** Changes the channel's only account; another token ends the one before, as a revocation does. */
    async changeAccount(channel: string, fields: Record<string, string>): Promise<void> {
      const { data } = await control<{ data: Record<string, unknown>[] }>("GET", "accounts");
      const account = data.find((one) => one.channel === channel);
      await control<unknown>("POST", "accounts", { ...account, ...fields });
    },
    reset: () => control<null>("POST", "reset"),
    isIdle,
    /** Waits until every webhook that was promised has been taken. */
    idle: () => until("the simulator is idle", isIdle),
  };
}
