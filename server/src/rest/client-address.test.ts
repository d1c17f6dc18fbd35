import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { test } from "node:test";
import { clientAddressOf } from "./client-address.ts";

const request = (remoteAddress: string, forwarded?: string) =>
  ({ socket: { remoteAddress }, headers: { "x-forwarded-for": forwarded } }) as unknown as IncomingMessage;

test("without trusted proxies the address is that of the connection", () => {
  assert.equal(clientAddressOf(null)(request("10.0.0.1", "1.2.3.4")), "10.0.0.1");
});

test("trusted hops are passed over, and an address that a client made up is not reached", () => {
  const forwarded = "6.6.6.6, 1.2.3.4, 10.0.0.2";
  for (const proxies of [2, ["10.0.0.0/8"]]) {
    assert.equal(clientAddressOf(proxies)(request("::ffff:10.0.0.1", forwarded)), "1.2.3.4", String(proxies));
  }
  assert.equal(clientAddressOf(["fd00::/8", "10.0.0.2"])(request("fd00::1", forwarded)), "1.2.3.4");
  assert.equal(clientAddressOf(["10.0.0.0/8"])(request("7.7.7.7", forwarded)), "7.7.7.7");
});

test("a hop that is no address is never the client's", () => {
  assert.equal(clientAddressOf(3)(request("10.0.0.1", "1.2.3.4, unknown, 10.0.0.2")), "10.0.0.2");
});
