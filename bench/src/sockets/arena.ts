import { type Child, startChild } from "../child.ts";
import { makeUsers } from "../hub/make-users.ts";
import { call } from "../hub/setup.ts";
import type { Stage } from "../hub/stage.ts";
import type { Bench } from "../measure.ts";
import type { SocketsOrder } from "../reference/sockets-process.ts";
import { type CrowdChild, startCrowd } from "./crowd-child.ts";

/** A hub that only sends to sockets, and agents who receive all events of its workspace. */
export interface Arena {
  stage: Stage;
  /** Credentials, each of another agent. */
  agents: string[];
  /** How many events the feed holds: the cursor of the newest. */
  head(): Promise<number>;
  /** Sends messages, one event each, by one request; resolves with its response. */
  say(count: number): Promise<void>;
}

/** Handshakes at the same time. */
export const atOnce = 200;
const agentsOf = new WeakMap<Stage, Promise<string[]>>();

export async function openArena(bench: Bench, count: number): Promise<Arena> {
  const stage = await bench.stage("sockets");
  const { hub, authorization, conversations } = stage;
  const { conversationId } = conversations[0]!;
  if (!agentsOf.has(stage)) agentsOf.set(stage, makeAgents(stage, count));
  return {
    stage,
    agents: await agentsOf.get(stage)!,
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
      stage.count(count);
    },
  };
}

async function makeAgents({ hub, workspaceId }: Stage, users: number): Promise<string[]> {
  const made = await makeUsers(hub, { workspaceId, role: "agent", users });
  return made.map(({ authorization }) => authorization);
}

export interface BareServer {
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
