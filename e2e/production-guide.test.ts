/** What the production guide gives to other programs: nginx, systemd and psql. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import https from "node:https";
import { delimiter, join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, test } from "node:test";
import { WebSocket } from "ws";
import { loadConfig } from "../server/src/config/config.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { freePort } from "../server/src/testing/free-port.ts";
import { patient } from "../server/src/testing/patience.ts";
import { lacks, programPath } from "../server/src/testing/programs.ts";
import { openCertificateFolder } from "../server/src/testing/test-certificate.ts";
import { until } from "../server/src/testing/until.ts";
import { readBlocks, readPage } from "./src/guide.ts";
import { adminPassword } from "./src/harness.ts";
import { openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { runShell } from "./src/shell.ts";

const root = join(import.meta.dirname, "..");
const blocks = readBlocks(readPage(root, "docs/guides/run-it-in-production.md"));
const opened = closeAfterTests();

function blockOf(start: string): string {
  const block = blocks.find(({ text }) => text.startsWith(start));
  assert.ok(block, `no block begins with ${start}`);
  return block.text;
}

describe("a hub behind nginx", { skip: lacks("nginx") || lacks("openssl") }, () => {
  const proxyLimitMs = patient(20_000);

  async function openProxy() {
    const certificates = opened.use(openCertificateFolder());
    const { certFile, keyFile } = certificates.make("proxy");
    const place = opened.use(await openHubPlace({ TRUST_PROXY: "127.0.0.1", REGISTRATION: "invite" }));
    await startHubProcess(place);
    const port = await freePort();
    const server = blockOf("map $http_upgrade")
      .replace("listen 443 ssl", `listen 127.0.0.1:${port} ssl`)
      .replace("server 127.0.0.1:8080;", `server 127.0.0.1:${place.port};`)
      .replace("/etc/letsencrypt/live/chat.example.com/fullchain.pem", certFile)
      .replace("/etc/letsencrypt/live/chat.example.com/privkey.pem", keyFile);
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    const folders = temporary.map((name) => `${name}_temp_path ${join(place.folder, name)};`).join("\n");
    const file = join(place.folder, "nginx.conf");
    // Workers of a root process would have no access to the folder.
    const user = process.getuid?.() === 0 ? "user root;" : "";
    writeFileSync(
      file,
      `${user}\npid ${join(place.folder, "nginx.pid")};\nevents {}\nhttp {\naccess_log off;\n${folders}\n${server}\n}\n`,
    );
    const nginx = spawn(programPath("nginx")!, ["-c", file, "-e", "stderr", "-g", "daemon off;"]);
    let said = "";
    nginx.stderr.setEncoding("utf8").on("data", (part) => (said += part));
    const ended = once(nginx, "exit");
    opened.defer(async () => {
      nginx.kill();
      await ended;
    });
    const ca = readFileSync(certFile);

    function request(method: string, path: string, headers: Record<string, string>, body?: string | Buffer) {
      return new Promise<import("node:http").IncomingMessage>((resolve, reject) => {
        https
          .request({ host: "127.0.0.1", port, path, method, headers, ca, agent: false }, resolve)
          .once("error", reject)
          .end(body);
      });
    }
    await until(
      "nginx forwards to the hub",
      async () => {
        assert.equal(nginx.exitCode, null, said);
        const alive = await request("GET", "/healthz", {}).catch(() => null);
        alive?.resume();
        return alive?.statusCode === 200;
      },
      proxyLimitMs,
    );
    return { port, ca, place, request };
  }

  test("requests, sockets, streams and large webhooks pass", async () => {
    const { port, ca, request } = await openProxy();
    const json = { "content-type": "application/json" };
    const login = await request(
      "POST",
      "/auth/token",
      json,
      JSON.stringify({ username: "admin", password: adminPassword }),
    );
    const { access_token: token } = JSON.parse(await text(login)) as { access_token: string };
    const authorization = `Bearer ${token}`;

    const socket = new WebSocket(`wss://127.0.0.1:${port}/ws`, ["bearer", token], { ca });
    opened.defer(() => socket.terminate());
    const frames: string[] = [];
    socket.on("message", (data) => frames.push(String(data)));
    socket.once("open", () => socket.send('{"type":"start"}'));
    await until("the socket is live", () => frames.some((frame) => frame.includes('"LIVE"')));

    const stream = await request("GET", "/v1/events", { authorization, accept: "text/event-stream" });
    let streamed = "";
    stream.setEncoding("utf8").on("data", (part) => (streamed += part));
    await until("the stream begins", () => streamed.includes(": here"));

    const template = { type: "template", name: "hello_world", language: "en_US", parameters: [] };
    const body = JSON.stringify({ to: "whatsapp:+5511999991111", payload: template });
    const sent = await request("POST", "/v1/messages", { ...json, authorization }, body);
    sent.resume();
    assert.equal(sent.statusCode, 202);
    // A proxy that buffers would keep both back.
    await until("the stream and the socket get the event", () => {
      return streamed.includes("message.accepted") && frames.some((frame) => frame.includes("message.accepted"));
    });
    stream.destroy();

    const accounts = await request("GET", "/v1/channel-accounts?channel=whatsapp", { authorization });
    const [account] = (JSON.parse(await text(accounts)) as { data: { channel_account_id: string }[] }).data;
    const webhook = `/webhooks/whatsapp/${account!.channel_account_id}`;
    const large = await request("POST", webhook, json, Buffer.alloc(3 * 1_024 * 1_024, " "));
    assert.equal(large.statusCode, 401, "the hub refuses it because of its signature, not nginx because of its size");
    assert.match(await text(large), /"request_id"/);

    for (const path of ["/readyz", "/metrics"]) {
      const hidden = await request("GET", path, {});
      hidden.resume();
      assert.equal(hidden.statusCode, 403, path);
    }
  });
});

test("the service file starts the hub as npm start does, with keys that the hub knows", () => {
  const service = blockOf("[Unit]");
  for (const line of service.split("\n")) assert.match(line, /^(|\[\w+\]|[A-Z]\w+=\S.*)$/);
  const { start } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).scripts;
  const [, started] = /^ExecStart=\/opt\/chat4all\/node_modules\/\.bin\/(.*)$/m.exec(service)!;
  assert.equal(started, start);

  const env = Object.fromEntries(
    blockOf("HOST=127.0.0.1")
      .split("\n")
      .map((line) => line.split("=")),
  );
  const config = loadConfig(env, { envFile: null });
  assert.equal(env.DATA_DIR, "/var/lib/chat4all", "the StateDirectory of the service");
  assert.match(service, /^StateDirectory=chat4all$/m);
  assert.ok(config);
});

test("psql opens the embedded database", { skip: lacks("postgres") }, async () => {
  await using place = await openHubPlace();
  await startHubProcess(place);
  const { code, output } = await runShell(
    `${blockOf("PGPASSWORD=")} -c 'SELECT count(*) FROM workspaces'`,
    place.folder,
    {
      env: { PATH: [programPath("postgres"), process.env.PATH].join(delimiter) },
    },
  );
  assert.deepEqual([code, /^\s*1$/m.test(output)], [0, true], output);
});
