import { setTimeout as delay } from "node:timers/promises";
import { type Client, openClient } from "../../../client/src/client.ts";
import { type Child, startChild } from "../child.ts";
import { type BenchHub, openDataDir, startHub } from "../hub/bench-hub.ts";
import { setUp } from "../hub/setup.ts";
import type { FileTraffic } from "../load/files-process.ts";
import { checksumOf, partContent } from "../load/part-content.ts";
import { atLeastTimes, atMost, type Bench, CheckFailed, compare, type Measure, once, row } from "../measure.ts";
import type { FilesOrder } from "../reference/files-process.ts";
import { takeTurns } from "../turns.ts";
import { readResidentBytes, watchPeak } from "../watch/processes.ts";

const partsAtOnce = 8;
/** Uploads at once, of a fifth of the plan's file each. */
const crowd = 20;
const crowdShare = 5;
/** By then a hub without work has collected the garbage of its start. */
const idleMs = 4_500;
const content = partContent();

/** Parts to URLs that the hub signed, and a download, beside a bare server that stores and reads the same bytes. */
export const filesSpeed: Measure = {
  names: ["files.upload", "files.download"],
  onlyWhenNamed: true,
  async run(bench) {
    const { fileBytes: bytes, pairs } = bench.plan;
    const { files, traffic, folder } = await open(bench);
    const bare = bench.resources.use(await startChild("./reference/files-process.ts"));
    const bareUrl = await bare.ask<string>({ folder } satisfies FilesOrder);
    const sizes = await sizesOf(files, bytes);
    let bareTurns = 0;
    const putBare = () => {
      bareTurns += 1;
      return put(
        traffic,
        sizes.map((bytes, index) => ({ url: `${bareUrl}/${bareTurns}-${index}`, bytes })),
        partsAtOnce,
      );
    };
    // Neither side deletes anything: the file system would do that during a later turn.
    const uploads = await takeTurns(
      {
        hub: async () => perSecond(bytes, (await upload(files, traffic, bytes, partsAtOnce)).ms),
        bare: async () => perSecond(bytes, await putBare()),
      },
      pairs,
      (latest, pair) => bench.progress(describe("upload", latest, pair)),
    );
    const { fileId } = await upload(files, traffic, bytes, partsAtOnce);
    const { url } = await files.download(fileId);
    await put(traffic, [{ url: `${bareUrl}/whole`, bytes }], 1);
    const downloads = await takeTurns(
      { hub: () => read(traffic, url, bytes), bare: () => read(traffic, `${bareUrl}/whole`, bytes) },
      pairs,
      (latest, pair) => bench.progress(describe("download", latest, pair)),
    );
    const note = `${bytes / 2 ** 20} MiB`;
    return [
      row(
        { name: "files.upload", unit: "MB/s", note: `${note}, ${partsAtOnce} parts at once` },
        compare(uploads.hub, uploads.bare),
        atLeastTimes(0.9),
      ),
      row({ name: "files.download", unit: "MB/s", note }, compare(downloads.hub, downloads.bare), atLeastTimes(0.9)),
    ];
  },
};

/** How much the RSS of the hub grows, at the most. */
export const filesMemory: Measure = {
  names: ["files.memory", "files.memory.crowd", "files.memory.forms"],
  onlyWhenNamed: true,
  async run(bench) {
    const bytes = 2 * bench.plan.fileBytes;
    const each = Math.floor(bench.plan.fileBytes / crowdShare);
    const one = await growth(bench, async ({ files, traffic }) => {
      const { fileId } = await upload(files, traffic, bytes, partsAtOnce);
      await read(traffic, (await files.download(fileId)).url, bytes);
      await files.remove(fileId);
    });
    bench.progress(`${bytes} bytes up and down: ${one.toFixed(0)} MiB`);
    const many = await growth(bench, async ({ files, bench }) => {
      const clients = await Promise.all(Array.from({ length: crowd }, () => startTraffic(bench)));
      await Promise.all(
        clients.map(async (traffic) => {
          const { fileId } = await upload(files, traffic, each, 4);
          await files.remove(fileId);
        }),
      );
    });
    bench.progress(`${crowd} uploads of ${each} bytes: ${many.toFixed(0)} MiB`);
    const forms = await growth(bench, async ({ files, traffic, url, authorization }) => {
      const fileIds = await traffic.ask<string[]>({
        kind: "post",
        url: `${url}/v1/files`,
        authorization,
        bytes: each,
        count: crowd,
      } satisfies FileTraffic);
      await Promise.all(fileIds.map((fileId) => files.remove(fileId)));
    });
    bench.progress(`${crowd} forms of ${each} bytes: ${forms.toFixed(0)} MiB`);
    const unit = "MiB";
    const mib = (of: number) => `${Math.round(of / 2 ** 20)} MiB`;
    return [
      row({ name: "files.memory", unit, note: `${mib(bytes)} up and down` }, once(one), atMost(64)),
      row({ name: "files.memory.crowd", unit, note: `${crowd} × ${mib(each)} at once` }, once(many), atMost(64)),
      row({ name: "files.memory.forms", unit, note: `${crowd} × ${mib(each)} in one request each` }, once(forms)),
    ];
  },
};

interface Place {
  bench: Bench;
  hub: BenchHub;
  url: string;
  authorization: string;
  files: Client["files"];
  traffic: Child;
  /** On the same disk as the hub's. */
  folder: string;
}

async function open(bench: Bench): Promise<Place> {
  const dataDir = bench.resources.use(openDataDir()).path;
  const hub = bench.resources.use(await startHub({ dataDir, roles: "api" }));
  const { authorization } = await setUp(hub, 0);
  const { files } = openClient({ url: hub.url, credential: { token: authorization.replace("Bearer ", "") } });
  const traffic = await startTraffic(bench);
  return { bench, hub, url: hub.url, authorization, files, traffic, folder: `${dataDir}/..` };
}

async function startTraffic(bench: Bench): Promise<Child> {
  return bench.resources.use(await startChild("./load/files-process.ts"));
}

/** In MiB, with a hub of its own. */
async function growth(bench: Bench, work: (place: Place) => Promise<void>): Promise<number> {
  await using resources = new AsyncDisposableStack();
  const place = await open({ ...bench, resources });
  const { files, traffic, hub } = place;
  // What the hub loads once.
  const { fileId } = await upload(files, traffic, 2 ** 23, 1);
  await read(traffic, (await files.download(fileId)).url, 2 ** 23);
  await delay(idleMs);
  const before = readResidentBytes(hub.pid);
  const peak = watchPeak(hub.pid);
  await work(place);
  return (peak() - before) / 2 ** 20;
}

/** Of the parts of an upload, in bytes. */
async function sizesOf(files: Client["files"], size: number): Promise<number[]> {
  const { file_id, parts } = await files.initiate({ filename: "bench.pdf", size });
  await files.remove(file_id);
  return parts.map((part) => part.size);
}

async function upload(files: Client["files"], traffic: Child, size: number, atOnce: number) {
  const { file_id, parts } = await files.initiate({ filename: "bench.pdf", size });
  const sizes = parts.map((part) => part.size);
  const checksum = checksumOf(content, sizes);
  const ms = await put(
    traffic,
    parts.map(({ url }, index) => ({ url, bytes: sizes[index]! })),
    atOnce,
  );
  const startedAt = performance.now();
  await files.complete({ file_id, checksum });
  return { fileId: file_id, ms: ms + performance.now() - startedAt };
}

function put(traffic: Child, parts: { url: string; bytes: number }[], atOnce: number): Promise<number> {
  return traffic.ask<number>({ kind: "put", parts, atOnce } satisfies FileTraffic);
}

async function read(traffic: Child, url: string, bytes: number): Promise<number> {
  const answer = await traffic.ask<{ ms: number; bytes: number }>({ kind: "get", url } satisfies FileTraffic);
  if (answer.bytes !== bytes) throw new CheckFailed(`A download has ${answer.bytes} bytes instead of ${bytes}.`);
  return perSecond(bytes, answer.ms);
}

const perSecond = (bytes: number, ms: number) => bytes / 1_000 / ms;

function describe(what: string, { hub, bare }: { hub: number; bare: number }, pair: number): string {
  return `${what} ${pair}: hub ${hub.toFixed(0)} MB/s, bare ${bare.toFixed(0)} MB/s`;
}
