/**
 * A large upload is killed three times and continues, on both engines of the object store. `npm run test:large-files` does
 * it with 2 GiB, which takes about two minutes and 5 GiB of disk space.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type File, openClient } from "../client/src/client.ts";
import { freePort } from "../server/src/testing/free-port.ts";
import { patient } from "../server/src/testing/patience.ts";
import { lacks } from "../server/src/testing/programs.ts";
import { createTestDatabase } from "../server/src/testing/test-database.ts";
import { startTestS3 } from "../server/src/testing/test-s3.ts";
import { until } from "../server/src/testing/until.ts";
import { sharedSecrets } from "./src/harness.ts";
import { type HubPlace, openHubPlace, programTokenOf, startHubProcess } from "./src/hub-place.ts";
import { makeUpFile } from "./src/made-up-file.ts";
import { openPartCounter, type PartCounter } from "./src/part-counter.ts";
import { withoutProc } from "./src/processes.ts";
import type { UploadOrder } from "./src/upload-program.ts";

const mebibyte = 1024 * 1024;
const size = Number(process.env.LARGE_FILE_BYTES ?? 300 * mebibyte + 7);
const seed = "large files";
const mostGrowthMiB = 64;
/** Of one part of the upload, or of a try to resume it. */
const withinMs = patient(120_000);
/** Starts of the client program in all: after a kill of the hub one may fail before it runs again. */
const mostStarts = 10;
const program = fileURLToPath(new URL("./src/upload-program.ts", import.meta.url));
const allTypes = { FILES_ALLOWED_TYPES: "image/*,text/*,application/*" };

test("in DATA_DIR: an upload that is killed three times continues", { skip: withoutProc }, async () => {
  await using stack = new AsyncDisposableStack();
  const port = await freePort();
  const counter = stack.use(await openPartCounter(`http://127.0.0.1:${port}`));
  const env = { PORT: String(port), PUBLIC_URL: counter.url };
  await killThreeTimes(counter, env);
});

test("in S3: an upload that is killed three times continues", { skip: withoutProc || lacks("versitygw") }, async () => {
  await using stack = new AsyncDisposableStack();
  const s3 = stack.use(await startTestS3());
  const counter = stack.use(await openPartCounter(s3.endpoint));
  await killThreeTimes(counter, {
    S3_ENDPOINT: counter.url,
    S3_BUCKET: s3.bucket,
    S3_REGION: s3.region,
    S3_ACCESS_KEY_ID: s3.accessKeyId,
    S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
  });
});

async function killThreeTimes(counter: PartCounter, env: Record<string, string>): Promise<void> {
  await using database = await createTestDatabase();
  await using place = await openHubPlace({ ...sharedSecrets, ...allTypes, DATABASE_URL: database.url, ...env });
  const url = `http://127.0.0.1:${env.PORT ?? place.port}`;
  let hub = await startHubProcess(place);
  const token = await programTokenOf({ ...place, url });
  const { files } = openClient({ url, credential: { token } });
  const memory = await watchMemory(hub.pid, files);
  const file = makeUpFile(seed, size);
  const { file_id: fileId, parts } = await files.initiate({ filename: "made-up.bin", size });
  const storedUntil = (share: number) =>
    until(`${100 * share} % are stored`, () => counter.stored(fileId) >= share * parts.length, withinMs);
  const order = { url, token, fileId, seed, size };

  for (const share of [0.2, 0.45]) {
    const client = startClient(place, order);
    await storedUntil(share);
    client.kill();
    await client.ended;
    assert.ok(counter.stored(fileId) < parts.length, "it was killed in the middle");
  }
  const growth = [memory.growthMiB()];

  let client = startClient(place, order);
  await storedUntil(0.7);
  hub.kill("SIGKILL");
  await hub.ended;
  assert.ok(counter.stored(fileId) < parts.length, "it was killed in the middle");
  hub = await startHubProcess(place);
  const memoryAgain = await watchMemory(hub.pid, files);
  let completed: File | null = null;
  for (let starts = 3; completed === null; starts += 1) {
    assert.ok(starts <= mostStarts, "the upload does not complete");
    completed = await client.ended;
    if (completed === null) client = startClient(place, order);
  }

  assert.deepEqual([completed.status, completed.size], ["completed", size]);
  assert.deepEqual(counter.sentAgain, [], "a stored part was sent again");
  let received = 0;
  const download = await fetch((await files.download(fileId)).url);
  for await (const chunk of download.body!) {
    assert.ok(file.bytes(received, received + chunk.length).equals(chunk), `bytes from ${received} on are others`);
    received += chunk.length;
  }
  assert.equal(received, size);
  growth.push(memoryAgain.growthMiB());
  console.log(`${size} bytes in ${parts.length} parts, ${counter.bytesSent()} sent; memory grew by ${growth} MiB`);
  assert.ok(Math.max(...growth) <= mostGrowthMiB, `the memory of the hub grew by ${growth} MiB`);
}

/** `ended`: with the file when it was uploaded, else null. */
function startClient({ folder }: HubPlace, order: UploadOrder) {
  const child = spawn(process.execPath, [program, JSON.stringify(order)], {
    cwd: folder,
    stdio: ["ignore", "pipe", "ignore"],
  });
  let printed = "";
  child.stdout.on("data", (chunk) => {
    printed += chunk;
  });
  return {
    kill: () => void child.kill("SIGKILL"),
    ended: once(child, "close").then(([code]): File | null => (code === 0 ? JSON.parse(printed) : null)),
  };
}

/** From now on, after a file of one part has loaded what the hub loads once. */
async function watchMemory(pid: number, files: ReturnType<typeof openClient>["files"]) {
  const small = await files.upload(makeUpFile(seed, 5 * mebibyte), { filename: "small.bin" });
  await (await fetch((await files.download(small.file_id)).url)).arrayBuffer();
  // Linux measures the highest memory since this.
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
  const before = statusOf(pid, "VmRSS");
  return { growthMiB: () => Math.round((statusOf(pid, "VmHWM") - before) / 1024) };
}

/** In KiB. */
function statusOf(pid: number, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]);
}
