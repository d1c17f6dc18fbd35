import assert from "node:assert/strict";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import https from "node:https";
import { join } from "node:path";
import { test } from "node:test";
import { connect, type Server, type TLSSocket } from "node:tls";
import { WebSocket, WebSocketServer } from "ws";
import { readCertificate } from "../lib/certificate.ts";
import { systemClock } from "../lib/clock.ts";
import { StartError } from "../lib/start-error.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { testsThatNeed } from "../testing/programs.ts";
import { openCertificateFolder } from "../testing/test-certificate.ts";
import { openDoor } from "../testing/test-http-server.ts";
import { renewCertificate } from "./tls.ts";

const { describe } = testsThatNeed("openssl");

describe("TLS on the hub itself", () => {
  const opened = closeAfterTests();
  const folder = opened.use(openCertificateFolder());
  const files = folder.make("first");
  const ca = readFileSync(files.certFile);
  const quiet = { info() {}, warn() {}, error() {} };

  function shakeHands(
    port: number,
    options: object = {},
  ): Promise<{ protocol: string | null; name: string | undefined }> {
    return new Promise((resolve, reject) => {
      const socket: TLSSocket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options }, () => {
        resolve({ protocol: socket.getProtocol(), name: String(socket.getPeerCertificate().subject.CN) });
        socket.destroy();
      });
      socket.once("error", reject);
    });
  }

  test("is TLS 1.3 only", async () => {
    await using door = await openDoor({ certificate: readCertificate(files) });
    assert.equal((await shakeHands(door.port)).protocol, "TLSv1.3");
    for (const version of ["TLSv1.2", "TLSv1.1", "TLSv1"] as const) {
      const options = { minVersion: "TLSv1", maxVersion: version, ciphers: "DEFAULT:@SECLEVEL=0" };
      await assert.rejects(shakeHands(door.port, options), /alert|version|disconnected|reset/i, version);
    }
  });

  test("sends strict-transport-security", async () => {
    await using door = await openDoor({ certificate: readCertificate(files) });
    const { headers, body } = await new Promise<{ headers: Record<string, unknown>; body: string }>(
      (resolve, reject) => {
        https
          .get({ port: door.port, host: "127.0.0.1", path: "/hello", ca, agent: false }, async (answer) => {
            let text = "";
            for await (const chunk of answer) text += chunk;
            resolve({ headers: answer.headers, body: text });
          })
          .once("error", reject);
      },
    );
    assert.equal(body, '{"said":"hello"}');
    assert.equal(headers["strict-transport-security"], "max-age=31536000");
  });

  test("carries sockets", async () => {
    await using door = await openDoor({ certificate: readCertificate(files) });
    const sockets = new WebSocketServer({ server: door.app.server });
    sockets.on("connection", (socket) => socket.on("message", (message) => socket.send(`${message}!`)));
    const client = new WebSocket(`wss://127.0.0.1:${door.port}/ws`, { ca });
    const received = await new Promise((resolve, reject) => {
      client.once("error", reject);
      client.once("open", () => client.send("hello"));
      client.once("message", (message) => resolve(String(message)));
    });
    assert.equal(received, "hello!");
    client.terminate();
    sockets.close();
  });

  test("cuts off clients that never finish the handshake", async () => {
    await using door = await openDoor({ certificate: readCertificate(files), limits: { handshakeTimeoutMs: 100 } });
    const { ended } = await door.dial();
    assert.equal(await ended, "");
  });

  test("does not speak plain HTTP", async () => {
    await using door = await openDoor({ certificate: readCertificate(files) });
    const { socket, ended } = await door.dial();
    socket.write("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n");
    assert.doesNotMatch(await ended, /hello/);
  });

  test("uses a renewed certificate without a restart, and keeps the old one while the new is broken", async () => {
    const live = { certFile: join(folder.folder, "live.pem"), keyFile: join(folder.folder, "live.key") };
    const put = (from: { certFile: string; keyFile: string }) => {
      copyFileSync(from.certFile, live.certFile);
      copyFileSync(from.keyFile, live.keyFile);
    };
    put(files);
    await using door = await openDoor({ certificate: readCertificate(live) });
    const refused = Promise.withResolvers<string>();
    const renewed = Promise.withResolvers<void>();
    const log = {
      ...quiet,
      error: (fields: object) => refused.resolve(JSON.stringify(fields)),
      info: () => renewed.resolve(),
    };
    const server = door.app.server as unknown as Server;
    await using stack = new AsyncDisposableStack();
    const renewal = renewCertificate(server, { files: live, clock: systemClock, log, everyMs: 10 });
    stack.defer(() => renewal.close());
    assert.equal((await shakeHands(door.port)).name, "first");
    writeFileSync(live.keyFile, "not a key");
    assert.match(await refused.promise, /holds no private key/);
    assert.equal((await shakeHands(door.port)).name, "first");
    put(folder.make("second"));
    await renewed.promise;
    assert.deepEqual(await shakeHands(door.port), { protocol: "TLSv1.3", name: "second" });
    await assert.rejects(shakeHands(door.port, { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" }));
  });

  test("does not start with unusable files, and says which and why", () => {
    const other = folder.make("other");
    const nothing = join(folder.folder, "nothing.pem");
    const text = join(folder.folder, "text.pem");
    writeFileSync(text, "hello");
    const wrong: [Partial<typeof files>, RegExp][] = [
      [{ certFile: nothing }, /^TLS_CERT_FILE .*nothing\.pem cannot be read \(ENOENT\)/],
      [{ keyFile: nothing }, /^TLS_KEY_FILE .*nothing\.pem cannot be read \(ENOENT\)/],
      [{ certFile: text }, /text\.pem holds no certificate: TLS_CERT_FILE needs one in PEM/],
      [{ keyFile: text }, /text\.pem holds no private key: TLS_KEY_FILE needs one in PEM/],
      [{ certFile: files.keyFile }, /first\.key holds no certificate/],
      [{ keyFile: other.keyFile }, /other\.key does not match the certificate in .*first\.pem/],
    ];
    for (const [change, message] of wrong) {
      assert.throws(
        () => readCertificate({ ...files, ...change }),
        (error) => error instanceof StartError && message.test(error.message),
      );
    }
  });
});
