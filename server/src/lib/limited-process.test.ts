import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { patient } from "../testing/patience.ts";
import { until } from "../testing/until.ts";
import { systemClock } from "./clock.ts";
import { type ProcessLimits, runLimitedProcess } from "./limited-process.ts";
import { parseCpuTime } from "./process-usage.ts";

const opened = closeAfterTests();
const folder = opened.adopt(await mkdtemp(join(tmpdir(), "limited-")), (path) => rm(path, { recursive: true }));
const inputPath = join(folder, "input.txt");
await writeFile(inputPath, "what may be read");
const input = opened.use(await open(inputPath));
const entry = fileURLToPath(new URL("../testing/misbehaving-process.ts", import.meta.url));
const code = ["../", "../../package.json"].map((path) => fileURLToPath(new URL(path, import.meta.url)));
const mebibyte = 1024 * 1024;
const wide: ProcessLimits = {
  memoryBytes: 300 * mebibyte,
  timeMs: patient(60_000),
  cpuMs: patient(60_000),
  silentCpuMs: patient(60_000),
  outputBytes: mebibyte,
};

async function run(
  deed: string,
  options: {
    argument?: string;
    limits?: Partial<ProcessLimits>;
    signal?: AbortSignal;
    onMessage?(message: unknown): void;
  } = {},
) {
  const messages: unknown[] = [];
  const ended = await runLimitedProcess({
    entry,
    args: [deed, options.argument ?? ""],
    inputFd: input.fd,
    mayRead: code,
    limits: { ...wide, ...options.limits },
    clock: systemClock,
    signal: options.signal,
    onMessage(message) {
      messages.push(message);
      options.onMessage?.(message);
    },
  });
  return { ended, result: (messages.at(-1) as { result?: unknown } | undefined)?.result };
}

test("returns what the process writes, and reads the open file for it", async () => {
  const { ended, result } = await run("read");
  assert.deepEqual(ended, { end: "completed", text: "read is done: ✓" });
  assert.equal(result, "what may be read");
});

test("the process has no environment variables and the lowest priority", async () => {
  assert.deepEqual((await run("environment")).result, []);
  assert.equal((await run("priority")).result, 19);
});

test("the process reaches no network, file, program or thread", async () => {
  let requests = 0;
  const server = createServer((_, response) => {
    requests += 1;
    response.end();
  });
  server.on("connection", () => {
    requests += 1;
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  opened.defer(() => void server.close());
  const port = String((server.address() as AddressInfo).port);
  const denied = "ERR_ACCESS_DENIED";
  assert.equal((await run("fetch", { argument: `http://127.0.0.1:${port}/` })).result, denied);
  assert.equal((await run("socket", { argument: port })).result, denied);
  assert.equal((await run("name server")).result, denied);
  assert.equal((await run("another file", { argument: inputPath })).result, denied);
  assert.equal((await run("a new file", { argument: join(folder, "new.txt") })).result, denied);
  assert.equal((await run("program")).result, denied);
  assert.equal((await run("thread")).result, denied);
  assert.equal(requests, 0);
});

test("a process that takes too much memory is ended", async () => {
  for (const deed of ["allocate buffers", "allocate objects", "allocate at once"]) {
    assert.deepEqual((await run(deed)).ended, { end: "memory" }, deed);
  }
  // More than allowed, though the kernel would give it, and more than half of it as JavaScript values.
  assert.deepEqual((await run("hold buffers", { argument: "350" })).ended, { end: "memory" });
  assert.deepEqual((await run("hold objects", { argument: "200" })).ended, { end: "memory" });
});

test("a process that takes too long is ended, by its CPU time and by the clock", async () => {
  assert.deepEqual((await run("spin", { limits: { cpuMs: 500 } })).ended, { end: "time" });
  assert.deepEqual((await run("wait", { limits: { timeMs: 500 } })).ended, { end: "time" });
});

test("a process that computes without a message is ended, one that waits is not", async () => {
  assert.deepEqual((await run("spin silently", { limits: { silentCpuMs: 500 } })).ended, { end: "silent" });
  assert.deepEqual((await run("wait", { limits: { silentCpuMs: 500, timeMs: 3_000 } })).ended, { end: "time" });
});

test("a process that writes too much is ended", async () => {
  assert.deepEqual((await run("flood")).ended, { end: "output" });
});

test("a process that crashes, throws or sends garbage fails, and says why", async () => {
  const crashed = (await run("crash")).ended;
  assert.equal(crashed.end === "crashed" && crashed.signal, "SIGABRT");
  const thrown = (await run("throw")).ended;
  assert.match(thrown.end === "failed" ? thrown.complaint : "", /This is the complaint/);
  for (const deed of ["malformed message", "endless line"]) assert.equal((await run(deed)).ended.end, "failed", deed);
});

test("a signal ends the process at once", async () => {
  const controller = new AbortController();
  const reason = new Error("cancelled");
  await assert.rejects(
    run("wait", { signal: controller.signal, onMessage: () => controller.abort(reason) }),
    (error) => error === reason,
  );
  await assert.rejects(run("read", { signal: controller.signal }), (error) => error === reason);
});

test("the process ends when its parent is killed, even if it computes", async () => {
  for (const deed of ["wait", "spin silently"]) {
    const pid = await startAndKillParent(deed);
    await until("the process has ended", async () => !(await isRunning(pid)), 60_000);
  }
});

test("CPU times of ps are parsed", () => {
  assert.equal(parseCpuTime("00:01:02"), 62_000);
  assert.equal(parseCpuTime("1-02:03:04"), 93_784_000);
  assert.equal(parseCpuTime("2:03.45"), 123_450);
});

/** Returns the pid of a process whose parent was killed after its first message. */
async function startAndKillParent(deed: string): Promise<number> {
  const script = `
    import { openSync } from "node:fs";
    import { runLimitedProcess } from ${JSON.stringify(new URL("./limited-process.ts", import.meta.url))};
    import { systemClock } from ${JSON.stringify(new URL("./clock.ts", import.meta.url))};
    await runLimitedProcess({
      entry: ${JSON.stringify(entry)}, args: [${JSON.stringify(deed)}, ""], inputFd: openSync(${JSON.stringify(inputPath)}),
      mayRead: ${JSON.stringify(code)}, limits: ${JSON.stringify({ ...wide, cpuMs: 1_000, silentCpuMs: 1_000 })},
      clock: systemClock, onMessage: () => console.log("started"),
    });`;
  const parent = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  opened.defer(() => void parent.kill("SIGKILL"));
  await once(parent.stdout, "data");
  const pid = await childOf(parent.pid!);
  parent.kill("SIGKILL");
  await once(parent, "exit");
  return pid;
}

async function childOf(parent: number): Promise<number> {
  const child = (await listProcesses()).find((process) => process.parent === parent);
  assert.ok(child !== undefined, "the process runs");
  return child.pid;
}

async function isRunning(pid: number): Promise<boolean> {
  return (await listProcesses()).some((process) => process.pid === pid && !process.isZombie);
}

async function listProcesses(): Promise<{ pid: number; parent: number; isZombie: boolean }[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid=,stat="]);
  return stdout
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .map(([pid, parent, state]) => ({ pid: Number(pid), parent: Number(parent), isZombie: state!.startsWith("Z") }));
}
