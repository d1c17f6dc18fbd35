import { parseArgs } from "node:util";
import { openDisk } from "./disk.ts";
import { Stages } from "./hub/stage.ts";
import { describeMachine } from "./machine.ts";
import { type Bench, CheckFailed, type Plan, type Row } from "./measure.ts";
import { measures } from "./measures.ts";
import { moved, supervise } from "./movement.ts";
import { formatRelease, formatTable, type Results } from "./table.ts";
import { plainObserver, profilingObserver } from "./watch/observer.ts";
import { formatProfile } from "./watch/profile-report.ts";

const usage = `Usage: npm run bench [-- <options>]

Measures the hub on this machine, each figure beside its reference in the same run, by turns: ratios count, machines
differ. Starts all it needs on free ports, in a temporary folder, and leaves nothing behind.

  --only <names>    some measures, separated by commas; * stands for anything: --only 'accept.single,e2e.*'.
                    --only may be left out. Without names: all but auth.*, documents.*, files.*, growth.*, overload.*
                    and processes.*,
                    at most 4 minutes
  --quick           fewer and shorter turns, fewer sockets: at most 90 s
  --json            print one JSON object instead of the table
  --markdown        print the block that docs/performance.md keeps for a release
  --profile         also show what takes the time: functions of the hub, statements of PostgreSQL, CPU of each part.
                    The figures of such a run are lower
  --messages <n>    growth only: the messages of its database (default: 1000000)
  --list            print the names of the measures
  --help            print this

Ends with 0 also when a goal does not hold (the table says so), and with 1 when a message was lost, repeated or out
of order, or when a measure could not run.
`;

/** A larger share of the machine for other programs is worth a remark. */
const quietShare = 0.05;
const defaultMessages = 1_000_000;
const longestMessages = 100_000_000;
const fullPlan = { pairs: 5, turnMs: 700, sockets: 10_000, fileBytes: 2 ** 30 };
const quickPlan = { pairs: 2, turnMs: 400, sockets: 2_000, fileBytes: 2 ** 26 };

const options = readOptions();
if (options.help) process.stdout.write(usage);
else if (options.list) process.stdout.write(`${measures.flatMap(({ names }) => names).join("\n")}\n`);
else process.exit(await run());

async function run(): Promise<number> {
  const startedAt = performance.now();
  // At once: the checkout may change during the run.
  const machine = describeMachine();
  const wanted = chosen(options.only);
  const surroundings = { othersShare: 0 };
  const profiler = options.profile ? profilingObserver(surroundings) : null;
  const observer = profiler ?? plainObserver(surroundings);
  const plan: Plan = { ...(options.quick ? quickPlan : fullPlan), messages: options.messages };
  await using disk = await openDisk();
  await using stages = new Stages(observer, plan.turnMs);
  const rows: Row[] = [];
  let failures = 0;
  for (const measure of wanted) {
    await using resources = new AsyncDisposableStack();
    using supervision = supervise();
    const interrupted = onInterrupt(async () => {
      await resources.disposeAsync();
      await stages.close();
      await disk[Symbol.asyncDispose]();
    });
    const name = measure.names.join(", ");
    const measureStartedAt = performance.now();
    progress(`${name} …`);
    const bench: Bench = {
      progress: (line) => progress(`  ${line}`),
      observer,
      plan,
      stage: (kind) => stages.get(kind),
      resources,
    };
    try {
      rows.push(...(await Promise.race([measure.run(bench), supervision.standstill])));
      progress(`  (${((performance.now() - measureStartedAt) / 1_000).toFixed(0)} s)`);
    } catch (error) {
      if (interrupted.isEnding) await new Promise(() => {});
      failures += 1;
      const why = error instanceof CheckFailed ? `VIOLATION: ${error.message}` : (error as Error).stack;
      progress(`${name} failed: ${why}`);
      await stages.close();
    }
    interrupted[Symbol.dispose]();
  }
  await stages.close();
  const { othersShare } = surroundings;
  if (othersShare > quietShare) {
    const percent = Math.round(othersShare * 100);
    progress(
      `Other programs used up to ${percent} % of the machine: rates and latencies are worse than they could be.`,
    );
  }
  const results: Results = {
    finished_at: new Date().toISOString(),
    is_quick: options.quick,
    seconds: (performance.now() - startedAt) / 1_000,
    machine,
    disk: { quiet: disk.quiet, during: disk.during() },
    others_share: othersShare,
    measures: rows,
  };
  if (options.json) process.stdout.write(`${JSON.stringify(results)}\n`);
  else process.stdout.write(options.markdown ? formatRelease(results) : formatTable(results));
  for (const profile of profiler?.profiles() ?? []) print(`\n${formatProfile(profile)}`);
  return failures === 0 ? 0 : 1;
}

function print(text: string): void {
  (options.json || options.markdown ? process.stderr : process.stdout).write(text);
}

function progress(line: string): void {
  moved(line.trim());
  process.stderr.write(`${line}\n`);
}

/** Stops what runs before the process ends. */
function onInterrupt(stop: () => Promise<void>): Disposable & { readonly isEnding: boolean } {
  let isEnding = false;
  const interrupt = () => {
    isEnding = true;
    process.stderr.write("Interrupted: stopping all that was started.\n");
    stop().finally(() => process.exit(130));
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, interrupt);
  return {
    get isEnding() {
      return isEnding;
    },
    [Symbol.dispose]() {
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, interrupt);
    },
  };
}

function chosen(only: string | undefined) {
  if (only === undefined) return measures.filter(({ onlyWhenNamed }) => !onlyWhenNamed);
  const patterns = only.split(",").map((pattern) => {
    const parts = pattern
      .trim()
      .split("*")
      .map((part) => RegExp.escape(part));
    return { pattern, test: new RegExp(`^${parts.join(".*")}$`) };
  });
  for (const { pattern, test } of patterns) {
    if (measures.some(({ names }) => names.some((name) => test.test(name)))) continue;
    fail(`There is no measure ${pattern}. There are ${measures.flatMap(({ names }) => names).join(", ")}.`);
  }
  return measures.filter(({ names }) => names.some((name) => patterns.some(({ test }) => test.test(name))));
}

function readOptions() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        only: { type: "string" },
        quick: { type: "boolean", default: false },
        json: { type: "boolean" },
        markdown: { type: "boolean" },
        messages: { type: "string", default: String(defaultMessages) },
        profile: { type: "boolean" },
        list: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
    const only = [values.only ?? [], positionals].flat().join(",");
    const messages = Number(values.messages);
    if (!Number.isInteger(messages) || messages < 1_000 || messages > longestMessages) {
      return fail(`--messages must be a number from 1000 to ${longestMessages}, not "${values.messages}".`);
    }
    return { ...values, messages, only: only === "" ? undefined : only };
  } catch (error) {
    return fail(`${(error as Error).message}\n\n${usage}`);
  }
}

function fail(message: string): never {
  process.stderr.write(`${message.trimEnd()}\n`);
  process.exit(2);
}
