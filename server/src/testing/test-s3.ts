import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { freePort } from "./free-port.ts";
import { lacks, programPath } from "./programs.ts";
import { until } from "./until.ts";
import { startWatchdog } from "./watchdog.ts";

/** An S3 server with one empty bucket, on a free local port. It does not outlive this process, however that ends. */
export interface TestS3 extends AsyncDisposable {
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

const portTries = 5;
const account = { region: "us-east-1", accessKeyId: "test-key", secretAccessKey: "test-secret-key" };

export async function startTestS3(): Promise<TestS3> {
  const program = programPath("versitygw");
  if (program === null) throw new Error(`This test ${lacks("versitygw")}.`);
  const folder = mkdtempSync(join(tmpdir(), `chat4all-test-s3-${process.pid}-`));
  const watchdog = startWatchdog(folder, watchdogScript);
  for (const name of ["data", "metadata"]) mkdirSync(join(folder, name));

  async function start(port: number): Promise<ChildProcess | null> {
    const options = ["--port", `127.0.0.1:${port}`, "posix", "--sidecar", join(folder, "metadata")];
    const child = spawn(program!, [...options, join(folder, "data")], {
      stdio: "ignore",
      cwd: folder,
      env: { ROOT_ACCESS_KEY: account.accessKeyId, ROOT_SECRET_KEY: account.secretAccessKey },
    });
    child.unref();
    writeFileSync(join(folder, "pid"), String(child.pid));
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
    await until("versitygw responds", async () => hasEnded() || (await fetch(`http://127.0.0.1:${port}/`)).status > 0);
    return hasEnded() ? null : child;
  }

  let server: ChildProcess | null = null;
  let port = 0;
  for (let tries = 1; server === null; tries += 1) {
    // Another process may have taken the port meanwhile.
    if (tries > portTries) throw new Error("versitygw does not start.");
    port = await freePort();
    server = await start(port);
  }
  const endpoint = `http://127.0.0.1:${port}`;
  await createBucket(endpoint, "files");
  const running = server;
  return {
    ...account,
    endpoint,
    bucket: "files",
    async [Symbol.asyncDispose]() {
      running.kill("SIGKILL");
      if (running.exitCode === null && running.signalCode === null) await once(running, "exit");
      rmSync(folder, { recursive: true, force: true });
      watchdog.end();
    },
  };
}

async function createBucket(endpoint: string, bucket: string): Promise<void> {
  const { region, ...credentials } = account;
  const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  client.destroy();
}

const watchdogScript = `
  cat
  [ -f "$1/pid" ] && kill -9 "$(cat "$1/pid")"
  rm -rf "$1"
`;
