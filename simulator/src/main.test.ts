import assert from "node:assert/strict";
import { type ChildProcess, fork, type SpawnOptions, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, openAsBlob, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { defaultWhatsAppAccount as account } from "./default-accounts.ts";
import { help, readCommand } from "./flags.ts";
import { call } from "./testing/driver.ts";

const main = path.join(import.meta.dirname, "main.ts");

test("the process reports its URL to its parent, and ends with SIGTERM or with the parent", async () => {
  for (const end of [(child: ChildProcess) => child.kill("SIGTERM"), (child: ChildProcess) => child.disconnect()]) {
    const { child, url } = await start(["--port", "0"]);
    assert.equal((await call(`${url}/_sim/idle`, "GET")).body.idle, true);
    const exited = once(child, "exit");
    end(child);
    assert.deepEqual(await exited, [0, null]);
  }
});

test("a message that got its response survives kill -9", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "simulator-"));
  try {
    const journal = path.join(folder, "journal.jsonl");
    const first = await start(["--port", "0", "--journal", journal]);
    const sends = Array.from({ length: 50 }, (_, i) => send(first.url, `text ${i}`));
    assert.deepEqual(new Set(await Promise.all(sends)), new Set([200]));
    const exited = once(first.child, "exit");
    first.child.kill("SIGKILL");
    await exited;
    const second = await start(["--port", "0", "--journal", journal]);
    assert.equal((await call(`${second.url}/_sim/messages`, "GET")).body.data.length, 50);
    second.child.kill("SIGTERM");
    await once(second.child, "exit");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test(
  "100 MB go up and down without being held in memory",
  { skip: process.platform !== "linux" && "Linux shows the memory of a process in /proc" },
  async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "simulator-"));
    const { child, url } = await start(["--port", "0"]);
    try {
      const file = path.join(folder, "a.pdf");
      writeFileSync(file, "%PDF");
      truncateSync(file, 100 << 20);
      const headers = { authorization: `Bearer ${account.access_token}` };
      const roundTrip = async (content: Blob) => {
        const body = new FormData();
        body.set("messaging_product", "whatsapp");
        body.set("file", content, "a.pdf");
        const graph = `${url}/whatsapp/${account.phone_number_id}`;
        const uploaded = (await (await fetch(`${graph}/media`, { method: "POST", headers, body })).json()) as {
          id: string;
        };
        const about = (await call(`${url}/whatsapp/${uploaded.id}`, "GET", undefined, headers)).body;
        const hash = createHash("sha256");
        for await (const chunk of (await fetch(about.url, { headers })).body!) hash.update(chunk);
        assert.equal(about.file_size, String(content.size));
        assert.equal(hash.digest("hex"), about.sha256);
      };
      await roundTrip(new Blob(["x"], { type: "application/pdf" }));
      const before = peakMemoryMib(child);
      await roundTrip(await openAsBlob(file, { type: "application/pdf" }));
      const growth = peakMemoryMib(child) - before;
      assert.ok(growth < 80, `the memory of the simulator grew by ${growth} MiB`);
    } finally {
      child.kill("SIGTERM");
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

test("a failed start prints one sentence and exits with 1", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const port = String((taken.address() as { port: number }).port);
  const cases: [string[], RegExp][] = [
    [["--port", port], /^The simulator cannot listen on 127\.0\.0\.1:\d+: another program has that port .*\.\n$/],
    [
      ["--port", "0", "--accounts", '[{"channel":"fax"}]'],
      /^The simulator cannot start: channel must be one of .*\.\n$/,
    ],
  ];
  await Promise.all(
    cases.map(async ([args, sentence]) => {
      const { code, stderr } = await run(args);
      assert.match(stderr, sentence);
      assert.equal(code, 1);
    }),
  );
  taken.close();
});

test("flags override the environment, and the error for a wrong flag names it", () => {
  const env = {
    SIMULATOR_PORT: "1",
    SIMULATOR_SEED: "env",
    SIMULATOR_ACCOUNTS: '{"channel":"fax"}',
    SIMULATOR_ENFORCE_WINDOW: "false",
  };
  assert.deepEqual(readCommand(["--port", "2"], env), {
    kind: "start",
    inheritsPort: false,
    options: { port: 2, host: "127.0.0.1", accounts: [{ channel: "fax" }], enforceWindow: false, seed: "env" },
  });
  assert.throws(() => readCommand(["--port", "x"], {}), /port must be a number from 0 to 65535, not "x"/);
  assert.throws(() => readCommand(["--enforce-window", "no"], {}), /enforce-window must be true or false, not "no"/);
  assert.throws(() => readCommand(["--prot", "1"], {}), /Unknown option '--prot'/);
  assert.throws(
    () => readCommand(["--accounts", "/nowhere.json"], {}),
    /the accounts file \/nowhere\.json cannot be read/,
  );
  assert.deepEqual(readCommand(["--help"], {}), { kind: "help" });
  for (const flag of ["port", "host", "journal", "accounts", "enforce-window", "seed"])
    assert.match(help, new RegExp(`--${flag} `));
});

function peakMemoryMib({ pid }: ChildProcess): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

async function start(args: string[]): Promise<{ child: ChildProcess; url: string }> {
  const child = fork(main, args, { stdio: "inherit" } satisfies SpawnOptions);
  const [message] = await once(child, "message");
  assert.equal(message.type, "listening");
  return { child, url: message.url };
}

async function run(args: string[]): Promise<{ code: number; stderr: string }> {
  const child = spawn(process.execPath, [main, ...args]);
  let stderr = "";
  child.stderr.on("data", (chunk) => (stderr += chunk));
  const [code] = await once(child, "close");
  return { code, stderr };
}

async function send(url: string, body: string): Promise<number> {
  const message = { messaging_product: "whatsapp", to: "+5511999991111", text: { body } };
  const headers = { authorization: `Bearer ${account.access_token}` };
  return (await call(`${url}/whatsapp/${account.phone_number_id}/messages`, "POST", message, headers)).status;
}
