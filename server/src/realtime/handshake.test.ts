import assert from "node:assert/strict";
import { test } from "node:test";
import { readHandshake, requireOwnOrigin } from "./handshake.ts";

const rules = { publicUrl: "https://hub.example", corsOrigins: ["https://app.example", "http://localhost:3000"] };
const isLetIn = (
  origin: string | undefined,
  host = "10.0.0.1:8080",
  corsOrigins: readonly string[] = rules.corsOrigins,
) => {
  try {
    requireOwnOrigin({ headers: { origin, host } }, { ...rules, corsOrigins });
    return true;
  } catch (error) {
    assert.equal((error as { code: string }).code, "FORBIDDEN");
    return false;
  }
};

test("programs, the hub's own pages and those of CORS_ORIGINS open sockets", () => {
  assert.ok(isLetIn(undefined));
  for (const origin of ["https://hub.example", "https://app.example", "http://localhost:3000"])
    assert.ok(isLetIn(origin), origin);
  assert.ok(isLetIn("http://10.0.0.1:8080"));
  assert.ok(isLetIn("http://hub.local:8080", "HUB.local:8080"));
  assert.ok(isLetIn("http://[::1]:8080", "[::1]:8080"));
});

test("pages of other sites do not, however similar their origin is", () => {
  const strangers = [
    "null",
    "",
    "https://evil.example",
    "http://hub.example",
    "https://hub.example:8443",
    "https://sub.hub.example",
    "https://hub.example.evil.example",
    "https://evil-hub.example",
    "https://hub.example@evil.example",
    "https://evil.example#https://hub.example",
    "https://hub.example/",
    "https://hub.example/page",
    "https://hub.example, https://evil.example",
    "https://app.example.evil.example",
    "http://app.example",
    "https://app.example:444",
    "http://localhost:3001",
    "http://localhost",
    "http://127.0.0.1:3000",
    "http://[::1]:3000",
    "http://10.0.0.1",
    "http://10.0.0.1:80",
    "https://10.0.0.1:8081",
    "http://user@10.0.0.1:8080",
    "http://10.0.0.1:8080.evil.example",
    "file://10.0.0.1:8080",
    "ftp://10.0.0.1:8080",
    "chrome-extension://10.0.0.1:8080",
    "javascript:alert(1)",
    "hub.example",
    "//hub.example",
    " https://hub.example",
    "https://hub.example\t",
  ];
  for (const origin of strangers) assert.equal(isLetIn(origin), false, origin);
});

test("a token comes by header, subprotocol or parameter, and the header goes first", () => {
  const read = (url: string, headers: Record<string, string> = {}) =>
    readHandshake({
      url,
      headers,
      rawHeaders: Object.entries(headers).flat() as string[],
    });
  assert.equal(read("/ws").authorization, undefined);
  assert.equal(read("/ws?token=a.b.c").authorization, "Bearer a.b.c");
  assert.deepEqual(read("/ws", { "sec-websocket-protocol": "bearer, a.b.c" }), {
    authorization: "Bearer a.b.c",
    protocol: "bearer",
    cursor: undefined,
  });
  assert.equal(read("/ws?token=other", { authorization: "Bearer one" }).authorization, "Bearer one");
  assert.equal(read("/ws?cursor=17&token=x").cursor, "17");
  assert.equal(read("/ws", { "sec-websocket-protocol": "chat" }).protocol, undefined);
});

test("two credentials in two headers are refused: a proxy in front may have verified the other one", () => {
  const headers = { authorization: "Bearer one" };
  const twice = { url: "/ws", headers, rawHeaders: ["authorization", "Bearer one", "Authorization", "Bearer two"] };
  assert.throws(() => readHandshake(twice), { code: "AUTH_INVALID" });
});
