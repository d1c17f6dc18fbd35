/** Neither frames of sockets nor reading a long history holds the event loop longer than a request may. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, describe, test } from "node:test";
import { maxFrameBytes } from "../server/src/realtime/sockets.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { openLoopMeter, type Said } from "./src/loop-delay.ts";
import type { Sent } from "./src/request-of-table.ts";
import { openReceiver } from "./src/workspace.ts";

const opened = closeAfterTests();
const meter = opened.use(openLoopMeter());
let hub: TestHub;
let conversationId: string;
let memberId: string;
/** The sockets of an agent, who sees everything, and of a member of the conversation. */
const tokens: Record<"agent" | "member" | "key", string> = { agent: "", member: "", key: "" };

before(async () => {
  hub = opened.use(await startTestHub({ env: { WEBHOOKS_ALLOW_PRIVATE: "true" } }));
  const [agent, member, other] = [await hub.user("agent"), await hub.user("member"), await hub.user("member")];
  conversationId = (await hub.group([agent.user_id, member.user_id, other.user_id])).conversation_id;
  memberId = member.user_id;
  tokens.agent = (await hub.logIn(agent.username)).access_token;
  tokens.member = (await hub.logIn(member.username)).access_token;
  // The frames of a key without a limit are not counted over several tries.
  tokens.key = (await hub.clientFor(tokens.member).apiKeys.create({ name: "frames", scopes: ["*"] })).key;
});

const socketUrl = (by: keyof typeof tokens, cursor?: string) => {
  const url = new URL("/ws", hub.url.replace("http", "ws"));
  url.searchParams.set("token", tokens[by]);
  if (cursor !== undefined) url.searchParams.set("cursor", cursor);
  return String(url);
};

/**
 * A replay gets few tries: how long it holds the loop also depends on how fast its client reads. `catching-up.test.ts`
 * tests that little is sent without a pause.
 */
const replayTries = 5;

/** The first frames of a socket run code that is not yet compiled, so they need some tries. */
async function expectQuick(name: string, request: Sent | Said, tries?: number) {
  const { answer, heldMs, allowedMs } = await meter.measure(request, undefined, tries);
  assert.ok(
    heldMs <= allowedMs,
    `${name} held the event loop for ${heldMs.toFixed(1)} ms: ${answer.text.slice(0, 300)}`,
  );
  return answer;
}

async function endOfFeed(): Promise<string> {
  let after: string | undefined;
  for (;;) {
    const page = await hub.client.events.list({ limit: 200, ...(after !== undefined && { after }) });
    if (page.data.length === 0) return page.next_cursor;
    after = page.next_cursor;
  }
}

const fill = (part: string, bytes = maxFrameBytes) => part.repeat(Math.floor(bytes / Buffer.byteLength(part)));
const padded = (frame: object) => JSON.stringify(frame).padEnd(maxFrameBytes);
/** As many frames as a client may send at once, including the ping that ends them. */
const burst = (frame: string) => Array.from({ length: 45 }, () => frame);

describe("frames of a client", () => {
  const accepted: Record<string, () => object> = {
    start: () => ({ type: "start" }),
    resume: () => ({ type: "resume", cursor: "0" }),
    read: () => ({ type: "read", conversation_id: conversationId, seq: 0 }),
    typing: () => ({ type: "typing", conversation_id: conversationId }),
    ping: () => ({ type: "ping" }),
  };
  for (const [type, frame] of Object.entries(accepted)) {
    test(`${type}, as large and as many as are taken`, async () => {
      const frames = burst(padded(frame()));
      const pongs = type === "ping" ? frames.length + 1 : 1;
      const answer = await expectQuick(type, {
        socketUrl: socketUrl("key"),
        frames,
        until: { type: "PONG", count: pongs },
      });
      assert.doesNotMatch(answer.text, /ERROR/);
      assert.equal(answer.status, 200);
    });
  }

  const refused: Record<string, () => string> = {
    "no JSON": () => fill("\\"),
    "arrays nested deep": () => fill("[", maxFrameBytes / 2) + fill("]", maxFrameBytes / 2),
    "objects nested deep": () => fill('{"a":'),
    "thousands of fields": () => `{${Array.from({ length: 1_600 }, (_, index) => `"${index}":1`).join(",")}}`,
    "a long name": () => `{"type":"ping","${fill("é", maxFrameBytes - 100)}":1}`,
    "an unknown type of many characters": () => `{"type":"${fill('\\"', maxFrameBytes - 100)}"}`,
    "a number of many digits": () =>
      `{"type":"read","conversation_id":"${randomUUID()}","seq":${fill("9", maxFrameBytes - 200)}}`,
    "a long cursor": () => `{"type":"resume","cursor":"${fill("1", maxFrameBytes - 200)}"}`,
    "an unknown conversation": () => `{"type":"typing","conversation_id":"${randomUUID()}"}`,
    "reading in an unknown conversation": () => `{"type":"read","conversation_id":"${randomUUID()}","seq":1}`,
    "a conversation that is not an id": () => `{"type":"typing","conversation_id":"${fill("a", maxFrameBytes - 200)}"}`,
  };
  for (const [name, frame] of Object.entries(refused)) {
    test(`${name} is refused`, async () => {
      const answer = await expectQuick(name, { socketUrl: socketUrl("member"), frames: burst(frame()) });
      assert.match(answer.text, /"type":"ERROR"/);
      assert.equal(answer.status, 200, answer.text);
    });
  }

  test("an invented cursor gets a gap", async () => {
    const frames = burst('{"type":"resume","cursor":"zzz"}');
    const answer = await expectQuick("zzz", { socketUrl: socketUrl("member"), frames });
    assert.match(answer.text, /RESUMING GAP RESUMED/);
    assert.equal(answer.status, 200, answer.text);
  });

  test("a frame that is too large ends the socket", async () => {
    const answer = await expectQuick("too large", {
      socketUrl: socketUrl("member"),
      frames: [fill("a", 16 * 1024 * 1024)],
    });
    assert.notEqual(answer.status, 200);
  });
});

describe("a long history of long messages", () => {
  const text = fill("é ", 65_000);
  /** More text than the hub caches, so that each try reads all of it. */
  const count = 810;
  let start: string;
  let key: string;

  before(async () => {
    start = (await hub.client.events.list({ limit: 1 })).next_cursor;
    key = (await hub.admin.apiKeys.create({ name: "reads", scopes: ["*"] })).key;
    const messages = Array.from({ length: 15 }, () => ({
      conversation_id: conversationId,
      payload: { type: "text" as const, text },
    }));
    for (let sent = 0; sent < count; sent += messages.length) {
      for (const { error } of await hub.client.messages.sendBatch(messages)) assert.equal(error, undefined);
    }
    await until("all is said", async () => {
      const { data } = await hub.client.conversations.messages(conversationId, { limit: 1 });
      return data[0]!.seq === count;
    });
    await hub.settled();
  });

  const get = (path: string): Sent => ({
    url: hub.url + path,
    method: "GET",
    headers: { authorization: `Bearer ${key}` },
  });

  for (const by of ["agent", "member"] as const) {
    for (const how of ["frame", "address"] as const) {
      test(`is sent to a socket of the ${by} that resumes by ${how}`, async () => {
        const frames = how === "frame" ? [JSON.stringify({ type: "resume", cursor: start })] : [];
        const url = how === "address" ? socketUrl(by, start) : socketUrl(by);
        const answer = await expectQuick(
          how,
          { socketUrl: url, frames, until: { type: "LIVE", count: 1 } },
          replayTries,
        );
        assert.equal(answer.status, 200, answer.text);
        assert.ok(answer.length > count * text.length, "all of it");
      });
    }
  }

  test("is read as events, page by page", async () => {
    const answer = await expectQuick("a page", get(`/v1/events?limit=200&after=${start}`));
    assert.equal(answer.status, 200);
  });

  test("is sent again to a webhook endpoint", async () => {
    const { url } = opened.use(await openReceiver());
    const { webhook_endpoint_id: id } = await hub.client.webhookEndpoints.create({ url, events: ["*"] });
    const body = JSON.stringify({ from: new Date(Date.now() - 3_600_000).toISOString() });
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const answer = await expectQuick("replay", {
      url: `${hub.url}/v1/webhook-endpoints/${id}/replay`,
      method: "POST",
      headers,
      body,
    });
    assert.equal(answer.status, 202, answer.text);
    const { replayed, next_from } = JSON.parse(answer.text) as { replayed: number; next_from: string | null };
    assert.ok(replayed >= 50, "as much as one call replays");
    assert.notEqual(next_from, null);
    await hub.client.webhookEndpoints.remove(id);
  });
});

describe("a long history of a large group", () => {
  const count = 450;
  let start: string;

  before(async () => {
    const people = Array.from({ length: 98 }, (_, index) => ({
      address: `whatsapp:+55119876500${String(index).padStart(2, "0")}`,
      display_name: fill("é", 400),
    }));
    const members = [memberId, ...people];
    const { conversation_id: id } = await hub.client.conversations.create({ type: "group", members });
    start = await endOfFeed();
    for (let number = 0; number < count; number += 1)
      await hub.client.conversations.change(id, { title: `Title ${number}` });
  });

  for (const by of ["agent", "member"] as const) {
    test(`is sent to a socket of the ${by}`, async () => {
      const answer = await expectQuick(by, {
        socketUrl: socketUrl(by, start),
        frames: [],
        until: { type: "LIVE", count: 1 },
      });
      assert.equal(answer.status, 200, answer.text);
      assert.ok(answer.length > count * 10_000, "all of it");
    });
  }
});
