import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./free-port.ts";
import { until } from "./until.ts";
import { startWatchdog } from "./watchdog.ts";

/** A Redis of the test's own, empty, on a free local port. It does not outlive this process, however that ends. */
export interface TestRedis extends AsyncDisposable {
  readonly url: string;
  /** As `kill -9` does: everything in it is lost. */
  kill(): Promise<void>;
  /** Again, at the same address. */
  start(): Promise<void>;
  /** As a machine that hangs: connections stay, and nothing responds, until `goOn`. */
  hang(): void;
  goOn(): void;
}

const startWithinMs = 30_000;
const portTries = 5;

/** Throws when `redis-server` is not installed (Debian: `apt-get install redis-server`). */
export async function startTestRedis(): Promise<TestRedis> {
  const folder = mkdtempSync(join(tmpdir(), `chat4all-test-redis-${process.pid}-`));
  const watchdog = startWatchdog(folder, watchdogScript);
  let port = 0;
  let server: ChildProcess | null = null;

  async function start(): Promise<void> {
    const options = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--dir", folder, "--pidfile", "pid"];
    const child = spawn("redis-server", options, { stdio: "ignore", cwd: folder });
    child.unref();
    let failure: Error | null = null;
    child.once("error", (error) => {
      failure = new Error("redis-server cannot be started: install it (apt-get install redis-server).", {
        cause: error,
      });
    });
    child.once("exit", (code) => {
      failure ??= new Error(`redis-server ended with ${code}.`);
    });
    await until("redis-server responds", async () => failure !== null || (await answers(port)), startWithinMs);
    if (failure !== null) throw failure;
    server = child;
  }

  async function kill(): Promise<void> {
    const child = server;
    server = null;
    if (child === null) return;
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    rmSync(join(folder, "pid"), { force: true });
  }

  for (let tries = 1; server === null; tries += 1) {
    port = await freePort();
    await start().catch((error) => {
      // Another process may have taken the port meanwhile.
      if (tries >= portTries || error.cause !== undefined) throw error;
    });
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    kill,
    start,
    hang: () => void server?.kill("SIGSTOP"),
    goOn: () => void server?.kill("SIGCONT"),
    async [Symbol.asyncDispose]() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
      watchdog.end();
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    socket.once("data", (data) => {
      socket.destroy();
      resolve(data.toString().startsWith("+PONG"));
    });
    socket.once("error", () => resolve(false));
    socket.once("close", () => resolve(false));
  });
}

const watchdogScript = `
  cat
  [ -f "$1/pid" ] && kill -9 "$(cat "$1/pid")"
  rm -rf "$1"
`;
