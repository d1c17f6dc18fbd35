import { parseArgs } from "node:util";
import { describeMachine } from "./machine.ts";
import { type Bench, CheckFailed, type Row } from "./measure.ts";
import { measures } from "./measures.ts";
import { moved, supervise } from "./movement.ts";
import { formatTable } from "./table.ts";
import { plainObserver, profilingObserver } from "./watch/observer.ts";
import { formatProfile } from "./watch/profile-report.ts";

const usage = `Usage: npm run bench [-- <options>]

Measures the hub on this machine, each figure beside its reference taken in the same run: ratios count, machines differ.
Starts all it needs on free ports, in a temporary folder, and leaves nothing behind.

  --only <names>    some measures, separated by commas; * stands for anything: --only 'accept.single,e2e.*'.
                    --only may be left out
  --json            print one JSON object instead of the table
  --profile [names] also show what takes the time: functions of the hub, statements of PostgreSQL, CPU of each part.
                    The figures of such a run are lower
  --list            print the names of the measures
  --help            print this

Ends with 0 also when a goal does not hold (the table says so), and with 1 when a message was lost, repeated or out
of order, or when a measure could not run.
`;

/** More of the machine than this, in other hands, is worth a word. */
const quietShare = 0.05;

const options = readOptions();
if (options.help) process.stdout.write(usage);
else if (options.list) process.stdout.write(`${measures.flatMap(({ names }) => names).join("\n")}\n`);
else process.exit(await run());

async function run(): Promise<number> {
  const wanted = chosen(options.only);
  const surroundings = { othersShare: 0 };
  const profiler = options.profile ? profilingObserver(surroundings) : null;
  const observer = profiler ?? plainObserver(surroundings);
  const machine = await describeMachine();
  const rows: Row[] = [];
  let failures = 0;
  for (const measure of wanted) {
    await using resources = new AsyncDisposableStack();
    using supervision = supervise();
    const interrupted = onInterrupt(() => resources.disposeAsync());
    const name = measure.names.join(", ");
    progress(`${name} …`);
    const bench: Bench = { progress: (line) => progress(`  ${line}`), observer, resources };
    try {
      rows.push(...(await Promise.race([measure.run(bench), supervision.standstill])));
    } catch (error) {
      if (interrupted.isEnding) await new Promise(() => {});
      failures += 1;
      const why = error instanceof CheckFailed ? `VIOLATION: ${error.message}` : (error as Error).stack;
      progress(`${name} failed: ${why}`);
    }
    interrupted[Symbol.dispose]();
  }
  if (surroundings.othersShare > quietShare) {
    const percent = Math.round(surroundings.othersShare * 100);
    progress(`Other programs used up to ${percent} % of the machine meanwhile: the figures are too low.`);
  }
  if (options.json) process.stdout.write(`${JSON.stringify({ machine, measures: rows })}\n`);
  else process.stdout.write(formatTable(machine, rows));
  for (const profile of profiler?.profiles() ?? []) print(`\n${formatProfile(profile)}`);
  return failures === 0 ? 0 : 1;
}

function print(text: string): void {
  (options.json ? process.stderr : process.stdout).write(text);
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
  if (only === undefined) return measures;
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
        json: { type: "boolean" },
        profile: { type: "boolean" },
        list: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
    const only = [values.only ?? [], positionals].flat().join(",");
    return { ...values, only: only === "" ? undefined : only };
  } catch (error) {
    return fail(`${(error as Error).message}\n\n${usage}`);
  }
}

function fail(message: string): never {
  process.stderr.write(`${message.trimEnd()}\n`);
  process.exit(2);
}
