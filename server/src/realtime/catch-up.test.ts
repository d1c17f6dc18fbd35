import assert from "node:assert/strict";
import { before, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { Role } from "../../../contract/src/access.ts";
import { readHead } from "../events/events.ts";
import { maxJobs } from "../lib/loop-share.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { appendEvents, openTestClient, openTestFeeds, testPrincipal } from "../testing/test-feeds.ts";
import { type Pipeline, startPipeline } from "../testing/test-pipeline.ts";
import type { Client } from "./client.ts";
import { blockSize } from "./feed-cache.ts";
import type { LiveFeed } from "./live-feed.ts";
import { lowWaterBytes } from "./outlet.ts";

// The disaster: a client reads as fast as it is sent to, so its whole past is sent in one turn, which blocks the process.

const opened = closeAfterTests();
let line: Pipeline;
let chat: string;

before(async () => {
  line = opened.use(await startPipeline({ delivers: false }));
  chat = await line.addConversation(await line.addPerson("ana"));
});

/**
 * In one turn of the event loop: the most bytes sent to these clients, the most events checked for one of them, and the
 * most clients for which any were checked.
 */
async function mostInATurn(clients: readonly Client[], work: () => Promise<unknown>) {
  let bytes = 0;
  let [mostBytes, mostEvents, mostClients] = [0, 0, 0];
  for (const { outlet } of clients) {
    const write = outlet.write;
    outlet.write = (frame, onSent) => {
      bytes += frame.size;
      write(frame, onSent);
    };
  }
  let isOver = false;
  const done = work().finally(() => {
    isOver = true;
  });
  let positions = clients.map(({ at }) => at.position);
  while (!isOver) {
    await setImmediate();
    mostBytes = Math.max(mostBytes, bytes);
    bytes = 0;
    const now = clients.map(({ at }) => at.position);
    // The first position is no step.
    const steps = now.map((position, index) => (positions[index] === 0 ? 0 : position - positions[index]!));
    mostEvents = Math.max(mostEvents, ...steps);
    mostClients = Math.max(mostClients, steps.filter((step) => step > 0).length);
    positions = now;
  }
  await done;
  return { mostBytes, mostEvents, mostClients };
}

/** One client, which joins, catches up from `start` and leaves. */
async function catchUpAs(role: Role, feed: LiveFeed, start: number) {
  const { client, frames } = openTestClient(testPrincipal(line, role));
  feed.join(client);
  const most = await mostInATurn([client], () => feed.catchUp(client, { position: start, mark: null }));
  feed.leave(client);
  return { frames, ...most };
}

test("a client that reads at once gets a bounded number of bytes in a turn of the event loop", async () => {
  await using process = openTestFeeds(line);
  const start = await readHead(line.pool, line.workspaceId);
  const size = 30_000;
  for (let batch = 0; batch < 3; batch += 1) await appendEvents(line, chat, 100, "x".repeat(size));
  const feed = await process.feed();
  // The second time the blocks are cached, so reading them does not wait either.
  for (const _time of ["first", "again"]) {
    const { frames, mostBytes } = await catchUpAs("agent", feed, start);
    assert.equal(frames.length, 300);
    assert.ok(mostBytes <= lowWaterBytes + size + 1_000, `${mostBytes} bytes`);
  }
});

test("a client that may see none of many past events has one block checked in a turn", async () => {
  await using process = openTestFeeds(line);
  const start = await readHead(line.pool, line.workspaceId);
  for (let batch = 0; batch < 5; batch += 1) await appendEvents(line, chat, 1_000);
  const feed = await process.feed();
  for (const _time of ["first", "again"]) {
    const { frames, mostEvents } = await catchUpAs("member", feed, start);
    assert.equal(frames.length, 0);
    assert.ok(mostEvents <= blockSize, `${mostEvents} events`);
  }
});

test("of many clients that reconnect at once, few get events in a turn", async () => {
  await using process = openTestFeeds(line);
  const start = await readHead(line.pool, line.workspaceId);
  await appendEvents(line, chat, 30);
  const feed = await process.feed();
  const clients = Array.from({ length: 1_000 }, () => openTestClient(testPrincipal(line, "agent")));
  for (const { client } of clients) feed.join(client);
  const { mostClients } = await mostInATurn(
    clients.map(({ client }) => client),
    () => Promise.all(clients.map(({ client }) => feed.catchUp(client, { position: start, mark: null }))),
  );
  for (const { frames } of clients) assert.equal(frames.length, 30);
  assert.ok(mostClients <= maxJobs, `${mostClients} clients`);
});
