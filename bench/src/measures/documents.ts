import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Client, openClient } from "../../../client/src/client.ts";
import { extractText } from "../../../server/src/documents/documents.ts";
import { systemClock } from "../../../server/src/lib/clock.ts";
import { makePdf } from "../../../server/src/testing/test-documents.ts";
import { openDataDir } from "../hub/bench-hub.ts";
import { each } from "../hub/setup.ts";
import { checkAccepted } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { atLeastTimes, atMostTimes, CheckFailed, compare, type Measure, row } from "../measure.ts";
import { takeTurns } from "../turns.ts";
import { partsOf } from "../watch/observer.ts";
import { settle } from "../watch/settle.ts";

const pages = 200;
const linesOfPage = 40;
const wordsOfLine = 12;
const run = promisify(execFile);

/** Text of a PDF, as the hub extracts it, beside the program of poppler, with the same priority. */
export const documentsExtract: Measure = {
  names: ["documents.extract"],
  onlyWhenNamed: true,
  async run(bench) {
    const folder = join(bench.resources.use(openDataDir()).path, "..");
    const path = join(folder, "bench.pdf");
    writeFileSync(path, makeReport(pages));
    const turns = await takeTurns(
      {
        own: () =>
          pagesPerSecond(async () => {
            const file = { contentType: "application/pdf", filename: "bench.pdf", clock: systemClock };
            const text = await extractText(path, file);
            if (text.pages !== pages) throw new CheckFailed(`${text.pages} of ${pages} pages were read.`);
            if (text.words !== pages * linesOfPage * wordsOfLine)
              throw new CheckFailed(`${text.words} words were read.`);
          }),
        poppler: () => pagesPerSecond(() => run("nice", ["-n", "19", "pdftotext", path, join(folder, "bench.txt")])),
      },
      bench.plan.pairs,
      ({ own, poppler }, pair) =>
        bench.progress(`pair ${pair}: ${own.toFixed(0)} pages/s, pdftotext ${poppler.toFixed(0)}`),
    );
    const head = { name: "documents.extract", unit: "pages/s", note: `a PDF of ${pages} pages, beside pdftotext` };
    return [row(head, compare(turns.own, turns.poppler), atLeastTimes(0.25))];
  },
};

const connections = 64;
const requestsPerSecond = 100;
const warmUpMs = 300;
/** A turn is longer than that of other measures, because there are few requests. */
const turnTimes = 3;
/** More than are read in a turn. */
const documentsOfTurn = 12;

/** p99 of accepting while documents are extracted all the time, and without. */
export const documentsBeside: Measure = {
  names: ["documents.beside"],
  onlyWhenNamed: true,
  async run(bench) {
    const stage = await bench.stage("whole");
    const { hub, authorization } = stage;
    const client = openClient({ url: hub.url, credential: { token: authorization.replace("Bearer ", "") } });
    const report = new Blob([new Uint8Array(makeReport(pages))]);
    const pace: Pace = { kind: "open", durationMs: turnTimes * bench.plan.turnMs, warmUpMs, requestsPerSecond };
    const load = { traffic: stage.traffic(1), connections, pace };
    const parts = partsOf({ hub, generatorPid: null });
    let extracted = 0;
    const turns = await takeTurns(
      {
        async beside() {
          const taskIds = await startExtracting(client, report);
          const watched = await stage.load("documents.beside", load);
          extracted += await stop(client, taskIds);
          await settle(parts);
          return watched;
        },
        async alone() {
          const watched = await stage.load("documents.beside.alone", load);
          await settle(parts);
          return watched;
        },
      },
      bench.plan.pairs,
      ({ alone, beside }, pair) => {
        const [quiet, busy] = [alone.result.latencyMs.p99, beside.result.latencyMs.p99];
        bench.progress(`pair ${pair}: p99 ${quiet.toFixed(2)} ms alone, ${busy.toFixed(2)} ms beside`);
      },
      { areWarm: true },
    );
    if (extracted === 0) throw new CheckFailed("No document was read meanwhile.");
    await checkAccepted(stage);
    const [beside, alone] = [turns.beside, turns.alone].map((list) => list.map(({ result }) => result.latencyMs.p99));
    const note = `${requestsPerSecond} requests a second; ${extracted} documents were read meanwhile`;
    return [row({ name: "documents.beside", unit: "ms", note }, compare(beside!, alone!), atMostTimes(1.5))];
  },
};

/** The tasks: one for each of new files, because a file has one at a time. */
function startExtracting({ files, documents }: Client, report: Blob): Promise<string[]> {
  return each(Array.from({ length: documentsOfTurn }), async () => {
    const { file_id } = await files.upload(report, { filename: "report.pdf" });
    return (await documents.extract(file_id)).task_id;
  });
}

/** Returns how many were being read, or completed. */
async function stop({ tasks }: Client, taskIds: readonly string[]): Promise<number> {
  const ended = await each(taskIds, async (id) => {
    const { status } = await tasks.get(id);
    // It may end meanwhile.
    if (status === "pending" || status === "running") await tasks.cancel(id).catch(() => {});
    return status;
  });
  return ended.filter((status) => status === "completed" || status === "running").length;
}

async function pagesPerSecond(read: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await read();
  return (pages * 1_000) / (performance.now() - startedAt);
}

/** Words in no order, so that no line repeats. */
function makeReport(count: number): Buffer {
  const words = "a hub accepts each message once and delivers it in order to every person of the conversation".split(
    " ",
  );
  let last = 1;
  const word = () => {
    last = (last * 48_271) % 2_147_483_647;
    return words[last % words.length]!;
  };
  const line = () => Array.from({ length: wordsOfLine }, word).join(" ");
  return makePdf(Array.from({ length: count }, () => Array.from({ length: linesOfPage }, line)));
}
