import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { test } from "node:test";
import { openDoor } from "../testing/test-http-server.ts";
import { openClientAddress } from "./client-address.ts";
import { originOf } from "./server.ts";

const request = (remoteAddress: string, forwarded?: string) =>
  ({ socket: { remoteAddress }, headers: { "x-forwarded-for": forwarded } }) as unknown as IncomingMessage;

test("without trusted proxies the IP address is that of the connection", () => {
  assert.equal(openClientAddress(null)(request("10.0.0.1", "1.2.3.4")), "10.0.0.1");
});

test("trusted hops are skipped, and an IP address that the client invented is ignored", () => {
  const forwarded = "6.6.6.6, 1.2.3.4, 10.0.0.2";
  for (const proxies of [2, ["10.0.0.0/8"]]) {
    assert.equal(openClientAddress(proxies)(request("::ffff:10.0.0.1", forwarded)), "1.2.3.4", String(proxies));
  }
  assert.equal(openClientAddress(["fd00::/8", "10.0.0.2"])(request("fd00::1", forwarded)), "1.2.3.4");
  assert.equal(openClientAddress(["10.0.0.0/8"])(request("7.7.7.7", forwarded)), "7.7.7.7");
});

test("a hop without an IP address is skipped, and a port or a zone behind an IP address is removed", () => {
  const cases: [forwarded: string, proxies: number | string[], address: string][] = [
    ["1.2.3.4, unknown, 10.0.0.2", ["10.0.0.0/8"], "10.0.0.2"],
    ["unknown, 10.0.0.2", 3, "10.0.0.2"],
    ["1.2.3.4, unknown, 10.0.0.2", 3, "1.2.3.4"],
    ["1.2.3.4:4711", 1, "1.2.3.4"],
    ["[2001:db8::1]:4711", 1, "2001:db8::1"],
    // A zone is any text: with it, one client could count as many, and write what it likes into the audit log.
    ["fe80::1%any-text", 1, "fe80::1"],
    ["[fe80::1%any-text]:4711", 1, "fe80::1"],
    ["", 1, "10.0.0.1"],
  ];
  for (const [forwarded, proxies, address] of cases) {
    assert.equal(openClientAddress(proxies)(request("10.0.0.1", forwarded)), address, forwarded);
  }
});

// A closed socket has no IP address: the audit log would lack it, and limits by IP address could not count it.
test("the IP address of a client that has disconnected is still known", async () => {
  const asked = Promise.withResolvers<void>();
  const origin = Promise.withResolvers<string | null>();
  await using door = await openDoor({}, (app) => {
    app.get("/origin", { config: { access: "public" } }, async (request) => {
      asked.resolve();
      await once(request.raw.socket, "close");
      origin.resolve(originOf(request).ip);
    });
  });
  const { socket } = await door.dial();
  socket.write("GET /origin HTTP/1.1\r\nhost: hub\r\n\r\n");
  await asked.promise;
  socket.destroy();
  assert.equal(await origin.promise, "127.0.0.1");
});
