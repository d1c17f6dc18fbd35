import assert from "node:assert/strict";
import { test } from "node:test";
import { type ConcurrencyLimit, limits, openConcurrencyLimit } from "./concurrency-limit.ts";

interface Server {
  serviceMs: number;
  /** Requests that end at the same moment. */
  together?: number;
  /** Requests that clients have under way, or try to have. */
  clients: number;
  forMs: number;
}

/** A server that handles requests in order, and clients that send the next request as soon as they have a response. */
function openServer() {
  let nowMs = 0;
  const limit = openConcurrencyLimit({ elapsed: () => nowMs, targetMs: 500 });
  const queue: { end: (how?: "dropped") => void; from: number }[] = [];
  return {
    limit,
    pass: (ms: number) => {
      nowMs += ms;
    },
    /** Returns how long the requests waited. */
    run({ serviceMs, together = 1, clients, forMs }: Server): number[] {
      const waits: number[] = [];
      for (const endsAt = nowMs + forMs; nowMs < endsAt; ) {
        for (let asked = queue.length; asked < clients && limit.hasRoom(); asked += 1)
          queue.push({ end: limit.begin(), from: nowMs });
        nowMs += serviceMs * together;
        for (const { end, from } of queue.splice(0, together)) {
          waits.push(nowMs - from);
          end();
        }
      }
      return waits;
    },
    drain() {
      for (const { end } of queue.splice(0)) end();
    },
  };
}

const longest = (waits: number[]) => waits.reduce((most, wait) => Math.max(most, wait), 0);

test("requests wait about as long as the target, however slow the server is", () => {
  for (const serviceMs of [0.2, 1, 5]) {
    const server = openServer();
    const load = { serviceMs, together: 10, clients: 20_000 };
    // Until the requests are served that were admitted before the server was known to be slow.
    server.run({ ...load, forMs: 15_000 });
    const waits = server.run({ ...load, forMs: 5_000 });
    assert.ok(longest(waits) <= 600 && longest(waits) >= 250, `${longest(waits)} ms at ${serviceMs} ms each`);
  }
});

test("no request is refused while the expected wait is shorter than the target", () => {
  const server = openServer();
  server.run({ serviceMs: 0.2, together: 10, clients: 1_500, forMs: 20_000 });
  assert.equal(server.limit.limit, limits.first);
});

// Messages are committed in groups: between two commits no request ends.
test("a server that ends requests in groups does not count as slow", () => {
  const server = openServer();
  server.run({ serviceMs: 0.5, together: 500, clients: 900, forMs: 20_000 });
  assert.equal(server.limit.limit, limits.first);
});

test("requests that end together are judged with those that ended before", () => {
  let nowMs = 0;
  const limit = openConcurrencyLimit({ elapsed: () => nowMs });
  for (let round = 0; round < 20; round += 1) {
    const together = begin(limit, 800);
    for (let turn = 0; turn < 3; turn += 1) {
      const alone = begin(limit, 20);
      nowMs += 210;
      for (const end of alone) end();
      assert.ok(limit.hasRoom());
    }
    for (const end of together) end();
  }
  assert.equal(limit.limit, limits.first);
});

test("a few requests do not change the limit", () => {
  let nowMs = 0;
  const limit = openConcurrencyLimit({ elapsed: () => nowMs });
  begin(limit, 100);
  for (let round = 0; round < 9; round += 1) {
    const [end] = begin(limit, 1);
    nowMs += 300;
    end!();
    assert.ok(limit.hasRoom());
  }
  assert.equal(limit.limit, limits.first);
});

test("a burst that the server works off is no overload", () => {
  const server = openServer();
  for (let round = 0; round < 20; round += 1) {
    server.run({ serviceMs: 1, clients: 400, forMs: 300 });
    server.drain();
    server.pass(2_000);
  }
  assert.equal(server.limit.limit, limits.first);
});

test("the limit falls when the server becomes slow and rises when it becomes fast, within bounds", () => {
  const server = openServer();
  server.run({ serviceMs: 100, clients: 5_000, forMs: 300_000 });
  assert.equal(server.limit.limit, limits.least);
  // With few requests, the server's rate is low.
  let before = limits.least;
  for (let step = 0; step < 40; step += 1) {
    server.run({ serviceMs: 0.02, together: 100, clients: 50_000, forMs: 100 });
    assert.ok(server.limit.limit <= 2 * before, `${server.limit.limit} after ${before}`);
    before = server.limit.limit;
  }
  assert.equal(server.limit.limit, limits.most);
});

// A request that calls a platform takes as long as the platform: the hub has time for others meanwhile.
test("requests that wait for something outside do not lower the limit", () => {
  let nowMs = 0;
  const limit = openConcurrencyLimit({ elapsed: () => nowMs });
  for (let round = 0; round < 50; round += 1) {
    const slow = begin(limit, 300);
    for (let turn = 0; turn < 250; turn += 1) {
      const quick = begin(limit, 10);
      nowMs += 20;
      for (const end of quick) end();
      assert.ok(limit.hasRoom());
    }
    for (const end of slow) end();
  }
  assert.equal(limit.limit, limits.first);
});

test("after a refusal by an inner queue, no request is admitted until others have ended", () => {
  const limit = openConcurrencyLimit({ elapsed: () => 0 });
  const ends = begin(limit, 200);
  ends[0]!("dropped");
  assert.equal(limit.hasRoom(), false);
  for (const end of ends.slice(1)) end();
  assert.equal(limit.hasRoom(), true);
  assert.equal(limit.underWay, 0);
});

test("requests that an inner queue refuses do not count as quick", () => {
  let nowMs = 0;
  const limit = openConcurrencyLimit({ elapsed: () => nowMs });
  begin(limit, 100);
  for (let round = 0; round < 10; round += 1) {
    const worked = begin(limit, 10);
    nowMs += 210;
    for (const end of begin(limit, 1_000)) end("dropped");
    for (const end of worked) end();
    limit.hasRoom();
  }
  assert.equal(limit.limit, limits.least);
});

function begin(limit: ConcurrencyLimit, count: number) {
  return Array.from({ length: count }, () => limit.begin());
}
