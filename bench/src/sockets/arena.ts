import { type Child, startChild } from "../child.ts";
import { type BenchHub, openDataDir, startHub } from "../hub/bench-hub.ts";
import { makeUsers } from "../hub/make-users.ts";
import { call, setUp, type Workplace } from "../hub/setup.ts";
import type { Bench } from "../measure.ts";
import type { SocketsOrder } from "../reference/sockets-process.ts";
import { countStatementsFromNextStart } from "../watch/statements.ts";
import { type CrowdChild, startCrowd } from "./crowd-child.ts";

/** A hub that only sends to sockets, and agents who receive all events of its workspace. */
export interface Arena extends Workplace {
  hub: BenchHub;
  agents(count: number): Promise<string[]>;
  /** How many events the feed holds: the cursor of the newest. */
  head(): Promise<number>;
  /** Sends messages, one event each, by one request; the time of its response. */
  say(count: number): Promise<void>;
}

/** Handshakes at the same time. */
const atOnce = 200;

/** `mayCount` lets the database count statements, as a profile does. */
export async function openArena(bench: Bench, { mayCount }: { mayCount: boolean }): Promise<Arena> {
  const { resources, observer } = bench;
  const dataDir = resources.use(openDataDir()).path;
  // Messages are accepted and published, and not routed: deliveries would be events too.
  const roles = "api,realtime";
  if (mayCount || observer.isProfiling) {
    await using first = await startHub({ dataDir, roles });
    await countStatementsFromNextStart(first.databaseUrl);
  }
  const hub = resources.use(await startHub({ dataDir, roles, isInspected: true }));
  const workplace = await setUp(hub, 1);
  const { authorization, conversations } = workplace;
  const { workspace_id } = await call<{ workspace_id: string }>(hub.url, "/v1/me", authorization);
  const { conversationId } = conversations[0]!;
  return {
    ...workplace,
    hub,
    async agents(count) {
      const made = await makeUsers(hub, { workspaceId: workspace_id, role: "agent", users: count });
      return made.map(({ authorization: own }) => own);
    },
    async head() {
      let after = "";
      for (;;) {
        const path = `/v1/events?limit=200${after}`;
        const page = await call<{ data: unknown[]; next_cursor: string }>(hub.url, path, authorization);
        if (page.data.length === 0) return Number.parseInt(page.next_cursor, 10);
        after = `&after=${page.next_cursor}`;
      }
    },
    async say(count) {
      const message = { conversation_id: conversationId, payload: { type: "text", text: "x".repeat(100) } };
      await call(hub.url, "/v1/messages/batch", authorization, { messages: Array(count).fill(message) });
    },
  };
}

interface BareServer {
  url: string;
  pid: number;
  ask: Child["ask"];
}

export async function startBareServer(bench: Bench): Promise<BareServer> {
  const child = bench.resources.use(await startChild("./reference/sockets-process.ts"));
  const url = await child.ask<string>({ kind: "listen" } satisfies SocketsOrder);
  return { url, pid: child.pid, ask: (order) => child.ask(order) };
}

/** Clients of this server, all of them there; and the seconds that it took. */
export async function fill(
  bench: Bench,
  url: string,
  authorizations: readonly string[],
): Promise<{ crowd: CrowdChild; seconds: number }> {
  const crowd = bench.resources.use(await startCrowd());
  const seconds = await crowd.open({ url, authorizations, atOnce });
  return { crowd, seconds };
}
