import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { openConnection } from "./connection.ts";

// The request would wait for its response forever.
test("a request on a connection that was closed while it was idle fails", async () => {
  const server = createServer((socket) => void socket.end()).listen(0, "127.0.0.1");
  await once(server, "listening");
  const failures: string[] = [];
  const lost = Promise.withResolvers<void>();
  const connection = await openConnection(
    { host: "127.0.0.1", port: (server.address() as AddressInfo).port },
    () => assert.fail("there is no response"),
    ({ message }) => {
      failures.push(message);
      lost.resolve();
    },
  );
  await lost.promise;
  connection.send(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
  assert.deepEqual(failures, ["the server closed the connection", "the server closed the connection"]);
  connection.close();
  server.close();
});
