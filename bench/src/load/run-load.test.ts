import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { runLoad } from "./run-load.ts";

async function openServer(answer: (response: ServerResponse) => void) {
  const server = createServer((request, response) => {
    request.resume().once("end", () => answer(response));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => void server.close(),
  };
}

const accept = (response: ServerResponse) => void response.writeHead(202, { "content-length": 2 }).end("{}");
const order = (url: string) => ({
  traffic: {
    url,
    authorization: "Bearer key",
    conversationIds: ["01a1fbc6-7eb7-72ee-83d7-2162610fbc1f"],
    batchSize: 1,
  },
  connections: 4,
  firstMessage: 1,
});

test("an open loop measures the time of a request from its scheduled start", async () => {
  let stalledAt = 0;
  // A server that stalls once for 100 ms keeps about 20 requests from being sent or finished.
  await using server = await openServer((response) => {
    stalledAt ||= performance.now();
    const wait = stalledAt + 100 - performance.now();
    if (wait > 0) setTimeout(accept, wait, response);
    else accept(response);
  });
  const pace = { kind: "open", durationMs: 1_000, warmUpMs: 0, requestsPerSecond: 200 } as const;
  const { accepted, latencyMs, failure } = await runLoad({ ...order(server.url), pace }).result;
  assert.equal(failure, null);
  assert.equal(accepted, 200);
  assert.ok(latencyMs.p99 > 80, JSON.stringify(latencyMs));
});

test("the load does not exceed its limit of requests", async () => {
  let received = 0;
  await using server = await openServer((response) => {
    received += 1;
    accept(response);
  });
  const load = runLoad({ ...order(server.url), pace: { kind: "credit", messages: 25 } });
  load.allow(10);
  while (received < 10) await new Promise(setImmediate);
  for (let turn = 0; turn < 100; turn += 1) await new Promise(setImmediate);
  assert.equal(received, 10);
  load.allow(1_000);
  assert.equal((await load.result).accepted, 25);
});

test("the response to the first refused request is reported", async () => {
  await using server = await openServer(
    (response) => void response.writeHead(422, { "content-length": 4 }).end("what"),
  );
  const pace = { kind: "closed", durationMs: 10_000, warmUpMs: 0 } as const;
  const { failure } = await runLoad({ ...order(server.url), pace }).result;
  assert.match(failure!, /^HTTP\/1.1 422[\s\S]*what$/);
});

test("a flood counts refusals, and one connection of ten waits for retry-after", async () => {
  const received = new Map<unknown, number>();
  await using server = await openServer((response) => {
    received.set(response.socket, (received.get(response.socket) ?? 0) + 1);
    response.writeHead(503, { "content-length": 4, "retry-after": "2" }).end("busy");
  });
  const pace = { kind: "flood", durationMs: 1_500, warmUpMs: 0, requestsPerSecond: 200 } as const;
  const { accepted, refused, failure } = await runLoad({ ...order(server.url), pace }).result;
  assert.equal(failure, null);
  assert.equal(accepted, 0);
  assert.ok(refused.measured > 0);
  const counts = [...received.values()].toSorted((one, other) => one - other);
  assert.equal(counts[0], 1);
  assert.ok(counts[1]! > 1, `${counts}`);
});

test("a request that is refused with 503 is sent again", async () => {
  let refusals = 0;
  await using server = await openServer((response) => {
    if (refusals === 5) return accept(response);
    refusals += 1;
    response.writeHead(503, { "content-length": 4, "retry-after": "0" }).end("busy");
  });
  const load = runLoad({ ...order(server.url), pace: { kind: "credit", messages: 20 } });
  load.allow(20);
  const { accepted, nextMessage, failure } = await load.result;
  assert.equal(failure, null);
  assert.equal(refusals, 5);
  assert.equal(accepted, 20);
  assert.equal(nextMessage, 21);
});

test("a connection that the server closes fails the load", async () => {
  await using server = await openServer((response) => void response.destroy());
  const pace = { kind: "closed", durationMs: 10_000, warmUpMs: 0 } as const;
  await assert.rejects(runLoad({ ...order(server.url), pace }).result, /closed the connection|ECONNRESET/);
});
