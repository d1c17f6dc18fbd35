import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Clamd } from "../lib/clamd.ts";
import { freePort } from "./free-port.ts";
import { lacks, programPath } from "./programs.ts";
import { until } from "./until.ts";
import { startWatchdog } from "./watchdog.ts";

/** A clamd with signatures of its own, on a free local port and a socket. It does not outlive this process, however that ends. */
export interface TestClamd extends AsyncDisposable {
  readonly tcp: { host: string; port: number };
  readonly unix: { path: string };
  /** As `kill -9` does. */
  kill(): Promise<void>;
  /** Again, at the same addresses. */
  start(): Promise<void>;
  /** As a machine that hangs: connections stay, and nothing responds, until `goOn`. */
  hang(): void;
  goOn(): void;
}

/** The file by which scanners are tested, and which all of them report. In two parts, because they would report this one too. */
export const eicar = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].join("");
/** What the clamd of the tests reports anywhere in a file, as `Test.Marker`. */
export const marker = "a marker of the tests, which no honest file has";
/** The largest stream that it takes. */
export const maxStreamBytes = 4 * 1024 * 1024;

export async function startTestClamd(): Promise<TestClamd> {
  const program = programPath("clamd");
  if (program === null) throw new Error(`This test ${lacks("clamd")}.`);
  const folder = mkdtempSync(join(tmpdir(), `chat4all-test-clamd-${process.pid}-`));
  const watchdog = startWatchdog(folder, watchdogScript);
  const hex = (text: string) => Buffer.from(text).toString("hex");
  // Name, any kind of file, anywhere or at the start, bytes. Source: ClamAV, "Body-based Signature Content Format".
  writeFileSync(join(folder, "own.ndb"), `Test.Eicar:0:0:${hex(eicar)}\nTest.Marker:0:*:${hex(marker)}\n`);
  const unix = { path: join(folder, "socket") };
  let server: ChildProcess | null = null;
  let tcp = { host: "127.0.0.1", port: 0 };

  async function start(): Promise<void> {
    const settings = [
      "Foreground yes",
      `DatabaseDirectory ${folder}`,
      `LocalSocket ${unix.path}`,
      `TCPAddr ${tcp.host}`,
      `TCPSocket ${tcp.port}`,
      `StreamMaxLength ${maxStreamBytes}`,
      "AlertExceedsMax yes",
      "MaxFileSize 2M",
    ];
    writeFileSync(join(folder, "clamd.conf"), settings.join("\n"));
    const child = spawn(program!, [`--config-file=${join(folder, "clamd.conf")}`], { stdio: "ignore", cwd: folder });
    child.unref();
    writeFileSync(join(folder, "pid"), String(child.pid));
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
    await until("clamd responds", async () => {
      if (!hasEnded()) for (const address of [tcp, unix]) await new Clamd(address).check();
      return true;
    });
    if (hasEnded()) throw new Error(`clamd ended with ${child.exitCode}.`);
    server = child;
  }

  async function kill(): Promise<void> {
    const child = server;
    server = null;
    if (child === null) return;
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }

  for (let tries = 1; server === null; tries += 1) {
    tcp = { host: "127.0.0.1", port: await freePort() };
    // Another process may have taken the port meanwhile.
    await start().catch((error) => {
      if (tries >= portTries) throw error;
    });
  }
  return {
    tcp,
    unix,
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

const portTries = 5;

const watchdogScript = `
  cat
  [ -f "$1/pid" ] && kill -9 "$(cat "$1/pid")"
  rm -rf "$1"
`;
