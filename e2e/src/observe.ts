import type { Client, Message } from "../../client/src/client.ts";
import { connectors } from "../../server/src/connectors/registry.ts";
import { until } from "../../server/src/testing/until.ts";
import { type Checker, openChecker, type Report } from "./checker.ts";
import { inParallel } from "./in-parallel.ts";
import type { SimulatorClient } from "./simulator-client.ts";

const requestsAtOnce = 16;

interface Observed extends Report {
  messages: Message[];
}

interface ObserveOptions {
  client: Client;
  simulator: SimulatorClient;
  /** All that were written to. */
  conversationIds: Iterable<string>;
  /** What the senders know: accepted, or perhaps so. */
  checker: Checker;
  /** Whether to read every message's audit trail: a request for each. */
  trails?: boolean;
}

/**
 * Reports to a checker, which has the `accepted` calls of the senders, what the API and the platforms show: what was
 * received, how deliveries changed, which attempts had no response.
 */
export async function observe(options: ObserveOptions): Promise<Observed> {
  const { client, simulator, conversationIds, checker, trails = true } = options;
  const messages: Message[] = [];
  for (const id of conversationIds) {
    for await (const message of history(client, id)) messages.push(message);
  }
  for (const { channel, to, text } of await simulator.messages()) {
    checker.received({ recipient: `${channel}:${to}`, key: text ?? "" });
  }
  if (trails) await inParallel(messages, requestsAtOnce, (message) => reportTrail(client, checker, message));
  // The first attempt of a delivery that needed no other got a response.
  const retried = messages.filter(({ deliveries }) => deliveries.some(({ attempts }) => attempts > 1));
  await inParallel(retried, requestsAtOnce, (message) => reportUnknownAttempts(client, checker, message));
  return { ...checker.report(), messages };
}

async function* history(client: Client, conversationId: string): AsyncGenerator<Message> {
  for (let after_seq = 0; ; ) {
    const { data } = await client.conversations.messages(conversationId, { after_seq, limit: 200 });
    yield* data;
    if (data.length === 0) return;
    after_seq = data.at(-1)!.seq;
  }
}

async function reportTrail(client: Client, checker: Checker, { message_id }: Message): Promise<void> {
  for (const { delivery_id, status, cause } of await client.messages.events(message_id)) {
    const deliveryId = delivery_id ?? message_id;
    checker.status({ deliveryId, status, isReplay: cause === "replayed" });
  }
}

async function reportUnknownAttempts(client: Client, checker: Checker, message: Message): Promise<void> {
  const addresses = new Map(message.deliveries.map(({ delivery_id, address }) => [delivery_id, address]));
  const key = message.payload.type === "text" ? message.payload.text : "";
  for (const entry of await client.messages.trace(message.message_id)) {
    if (entry.what !== "attempt" || entry.outcome !== "unknown") continue;
    const recipient = addresses.get(entry.delivery_id as string);
    if (recipient) checker.unknownAttempt({ recipient, key });
  }
}

/**
 * Waits until API and platforms show nothing under way: nothing pending, no webhook waiting, and every delivery in the
 * last status that its channel reports.
 */
export async function settledByApi(client: Client, simulator: SimulatorClient, conversationIds: Iterable<string>) {
  const patience = 60_000;
  // As long as it becomes less, it may take longer.
  for (let before = Number.POSITIVE_INFINITY; ; ) {
    const left = await until(
      "fewer deliveries are pending",
      async () => {
        const pending = await countPending(client);
        return pending === 0 || pending < before / 2 ? { pending } : false;
      },
      patience,
    );
    if (left.pending === 0) break;
    before = left.pending;
  }
  await until(
    "the simulator is idle, and nothing is pending",
    async () => (await simulator.isIdle()) && (await countPending(client)) === 0,
    patience,
  );
  for (const id of conversationIds) {
    await until(
      `every delivery of conversation ${id} has its last status`,
      async () => (await Array.fromAsync(history(client, id))).every(({ deliveries }) => deliveries.every(isFinal)),
      patience,
    );
  }
}

/** Deliveries that wait or are under way. */
export async function countPending(client: Client): Promise<number> {
  const { data } = await client.channelAccounts.list();
  const healths = await Promise.all(data.map((account) => client.channelAccounts.health(account.channel_account_id)));
  return healths.reduce((sum, { pending }) => sum + pending, 0);
}

const ends = new Map(connectors.map(({ channel, capabilities }) => [channel, capabilities.receipts.at(-1)]));

function isFinal({ channel, status }: Message["deliveries"][number]): boolean {
  return status === "failed" || channel === "app" || status === ends.get(channel);
}

/** A checker with the replies to these senders. */
export function checkerOf(sent: Iterable<Parameters<Checker["accepted"]>[0]>): Checker {
  const checker = openChecker();
  for (const one of sent) checker.accepted(one);
  return checker;
}

/** Throws, with all that was found, when the report is not fine. */
export function assertFine({ ok, counts, ...found }: Report): void {
  if (ok) return;
  const { messages: _, ...lists } = found as Partial<Observed>;
  const findings = Object.entries(lists).filter(([, list]) => Array.isArray(list) && list.length > 0);
  throw new Error(`A promise is broken: ${JSON.stringify({ counts, ...Object.fromEntries(findings) }, null, 2)}`);
}
