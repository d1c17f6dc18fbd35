import { setTimeout as delay } from "node:timers/promises";
import { moved } from "../movement.ts";
import type { BenchHub } from "./bench-hub.ts";

/** What a measure needs of a hub: a key, and conversations with people on WhatsApp. */
export interface Workplace {
  /** The value of an `authorization` header: an API key, for which nothing is limited. */
  authorization: string;
  conversations: readonly { conversationId: string; address: string }[];
}

/** Requests at once while setting up. */
const atOnce = 8;

export async function setUp(hub: Pick<BenchHub, "url" | "adminPassword">, people: number): Promise<Workplace> {
  const { access_token } = await call<{ access_token: string }>(hub.url, "/auth/token", null, {
    username: "admin",
    password: hub.adminPassword,
  });
  const { key } = await call<{ key: string }>(hub.url, "/v1/api-keys", `Bearer ${access_token}`, {
    name: "bench",
    scopes: ["*"],
  });
  const authorization = `Bearer ${key}`;
  const me = await call<{ workspace_id: string }>(hub.url, "/v1/me", authorization);
  const addresses = Array.from({ length: people }, (_, index) => `whatsapp:+55119${String(10_000_000 + index)}`);
  const conversations = await each(addresses, async (address) => {
    const members = [me.workspace_id, { address }];
    const made = await call<{ conversation_id: string }>(hub.url, "/v1/conversations", authorization, {
      type: "private",
      members,
    });
    return { conversationId: made.conversation_id, address };
  });
  return { authorization, conversations };
}

/**
 * One call with JSON both ways; throws on every response that is not 2xx. A body makes it a POST. After a 503, which means
 * that nothing was changed, it calls again: a machine whose disk stalls makes a run slower, and does not fail it.
 */
export async function call<Result>(
  url: string,
  path: string,
  authorization: string | null = null,
  body?: unknown,
): Promise<Result> {
  const response = await fetch(url + path, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      ...(authorization === null ? {} : { authorization }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  if (response.status === 503) {
    await delay(Number(response.headers.get("retry-after") ?? 1) * 1_000);
    return call(url, path, authorization, body);
  }
  if (!response.ok) throw new Error(`${path} returned ${response.status}: ${text.slice(0, 500)}`);
  return (text === "" ? undefined : JSON.parse(text)) as Result;
}

export async function each<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = new Array(items.length);
  let next = 0;
  const workers = Array.from({ length: Math.min(atOnce, items.length) }, async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await work(items[index]!);
      moved("a call of the setup or of a check");
    }
  });
  await Promise.all(workers);
  return results;
}
