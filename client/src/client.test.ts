import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, everyPage, openClient } from "./client.ts";

const url = "http://hub.test";

interface Seen {
  method: string;
  path: string;
  authorization: string | undefined;
  body: unknown;
}

/** A `fetch` that responds from a list, and what it was asked. */
function answering(answer: (seen: Seen) => [status: number, body: unknown, headers?: Record<string, string>]) {
  const seen: Seen[] = [];
  const fetch = (async (input: string, init: RequestInit) => {
    const headers = init.headers as Record<string, string>;
    const body = init.body === undefined ? null : JSON.parse(String(init.body));
    const call = { method: init.method!, path: input.slice(url.length), authorization: headers.authorization, body };
    seen.push(call);
    await Promise.resolve();
    const [status, answered, answerHeaders = {}] = answer(call);
    return new Response(answered === null ? null : JSON.stringify(answered), { status, headers: answerHeaders });
  }) as typeof globalThis.fetch;
  return { seen, fetch };
}

test("an error response becomes an ApiError with all its fields", async () => {
  const error = { code: "OVERLOADED", message: "Too much waits.", details: { queue: 5 }, request_id: "r1" };
  const { fetch } = answering(() => [503, { success: false, error }, { "retry-after": "2" }]);
  const client = openClient({ url, fetch, credential: { token: "t" } });
  const thrown = await client.messages.get("m").catch((reason) => reason);
  assert.ok(thrown instanceof ApiError);
  const { status, code, message, details, requestId, retryAfterSeconds } = thrown;
  assert.deepEqual(
    { status, code, message, details, requestId, retryAfterSeconds },
    {
      status: 503,
      code: "OVERLOADED",
      message: "Too much waits.",
      details: { queue: 5 },
      requestId: "r1",
      retryAfterSeconds: 2,
    },
  );
});

test("a request refused with 429 or 503 is retried after retry-after, at most twice", async () => {
  const tooMany = { success: false, error: { code: "RATE_LIMIT_EXCEEDED", message: "Too many." } };
  let refusals = 2;
  let wait = "0";
  const { seen, fetch } = answering(() => {
    refusals -= 1;
    return refusals >= 0 ? [429, tooMany, { "retry-after": wait }] : [200, { message_id: "m" }];
  });
  const client = openClient({ url, fetch, credential: { token: "t" } });
  assert.equal((await client.messages.get("m")).message_id, "m");
  assert.equal(seen.length, 3);
  refusals = 3;
  await assert.rejects(client.messages.get("m"), { code: "RATE_LIMIT_EXCEEDED" });
  assert.equal(seen.length, 6);
  refusals = 1;
  wait = "60";
  await assert.rejects(client.messages.get("m"), { code: "RATE_LIMIT_EXCEEDED", retryAfterSeconds: 60 });
  assert.equal(seen.length, 7);
});

test("a response from another server is an ApiError too", async () => {
  const { fetch } = answering(() => [502, "Bad gateway"]);
  const client = openClient({ url, fetch, credential: { token: "t" } });
  await assert.rejects(client.auth.me(), { name: "ApiError", status: 502, code: "INTERNAL" });
});

// Two refreshes with one refresh token end the session, as if it were stolen.
test("many calls at once share one login, and one refresh when it expires", async () => {
  let logins = 0;
  const { seen, fetch } = answering(({ path, body }) => {
    if (path === "/auth/token" || path === "/auth/refresh") {
      logins += 1;
      assert.deepEqual(body, logins === 1 ? { username: "ana", password: "secret" } : { refresh_token: "r1" });
      const tokens = { access_token: `a${logins}`, refresh_token: `r${logins}`, token_type: "Bearer" };
      return [200, { ...tokens, expires_in: logins === 1 ? 0 : 3600 }];
    }
    return [200, {}];
  });
  const client = openClient({ url, fetch, credential: { username: "ana", password: "secret" } });
  await Promise.all([client.auth.me(), client.auth.me()]);
  await Promise.all([client.auth.me(), client.auth.me(), client.auth.me()]);
  assert.equal(logins, 2);
  const used = seen.filter(({ path }) => path === "/v1/me").map(({ authorization }) => authorization);
  assert.deepEqual(used, ["Bearer a1", "Bearer a1", "Bearer a2", "Bearer a2", "Bearer a2"]);
});

// By the hub's clock it has expired, and each request would fail.
test("a token is refreshed in time, even if the clock is set back or the machine sleeps", async (t) => {
  let [wallMs, steadyMs] = [Date.now(), performance.now()];
  t.mock.method(Date, "now", () => wallMs);
  t.mock.method(performance, "now", () => steadyMs);
  let logins = 0;
  const { fetch } = answering(({ path }) => {
    if (path !== "/auth/token" && path !== "/auth/refresh") return [200, {}];
    logins += 1;
    return [200, { access_token: `a${logins}`, refresh_token: "r", token_type: "Bearer", expires_in: 60 }];
  });
  const client = openClient({ url, fetch, credential: { username: "ana", password: "secret" } });
  await client.auth.me();
  steadyMs += 20_000;
  wallMs -= 3_600_000;
  await client.auth.me();
  assert.equal(logins, 1);
  steadyMs += 20_000;
  await client.auth.me();
  assert.equal(logins, 2, "the clock was set back");
  wallMs += 40_000;
  await client.auth.me();
  assert.equal(logins, 3, "the machine slept");
});

test("after a refused refresh the client logs in with the password", async () => {
  const { seen, fetch } = answering(({ path }) => {
    if (path === "/auth/refresh") return [401, { error: { code: "AUTH_INVALID", message: "Used." } }];
    if (path === "/auth/token")
      return [200, { access_token: "a", refresh_token: "r", token_type: "Bearer", expires_in: 0 }];
    return [200, {}];
  });
  const client = openClient({ url, fetch, credential: { username: "ana", password: "secret" } });
  await client.auth.me();
  await client.auth.me();
  assert.deepEqual(
    seen.map(({ path }) => path),
    ["/auth/token", "/v1/me", "/auth/refresh", "/auth/token", "/v1/me"],
  );
});

test("every page of a list is read", async () => {
  const { seen, fetch } = answering(({ path }) =>
    path.includes("cursor=next%2B1")
      ? [200, { data: [3], next_cursor: null }]
      : [200, { data: [1, 2], next_cursor: "next+1" }],
  );
  const client = openClient({ url, fetch, credential: { token: "t" } });
  assert.deepEqual(await Array.fromAsync(everyPage(client.conversations.list)), [1, 2, 3]);
  assert.equal(seen.length, 2);
});
