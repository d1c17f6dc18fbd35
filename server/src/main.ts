import { flushCompileCache } from "node:module";
import { setImmediate as signalsWereRead } from "node:timers/promises";
import { DataDirError } from "../../embedded-postgres/src/data-dir.ts";
import type { Command } from "./commands/command.ts";
import { commands, runCommand } from "./commands/commands.ts";
import type { Config } from "./config/config.ts";
import { StartError } from "./lib/start-error.ts";
import { openStartProgress } from "./lib/start-progress.ts";
import { onNpmGone } from "./npm-parent.ts";

const usage = `Usage: npm start [-- <command>]

  (none)   start the hub: the API, the pipeline, the embedded database and the platform simulator
  config   print every configuration key, its meaning, default and current value
  secrets  secrets rotate, secrets reseal: replace what the hub signs and encrypts with
  audit    audit verify: check whether the audit log was changed
  admin    admin reset-password [username]: set and print a new password
  --help   print this; <command> --help prints more on a command
  --version  print the version of this program

The configuration is read from the environment and from the file .env in this folder.
`;

const stoppingHub = "Stopping: no new work is taken, what is under way is finished.\n";
const stoppingStart = "Stopping before the start is complete.\n";

const [command, ...args] = process.argv.slice(2);
try {
  if (command === undefined) await start();
  else if (isHelp(command)) process.stdout.write(usage);
  else if (command === "--version") process.stdout.write(`${(await import("./lib/version.ts")).version}\n`);
  else if (Object.hasOwn(commands, command)) await run(await commands[command]!());
  else fail(`There is no command ${command}.\n\n${usage}`);
} catch (error) {
  if (error instanceof StartError || error instanceof DataDirError) fail(error.message);
  throw error;
}

async function start(): Promise<void> {
  const progress = openStartProgress((line) => process.stdout.write(`${line}\n`), "the program to load");
  const ended = Promise.withResolvers<Error | null>();
  stopOnSignals(() => ended.resolve(null));
  if (isRunByNpm()) onNpmGone(() => ended.resolve(null));
  const config = await readConfig();
  const [{ startHub }, { banner }, log] = await Promise.all([
    import("./hub.ts"),
    import("./banner.ts"),
    openLog(config),
  ]);
  const { waitFor } = progress;
  const stopping = new AbortController();
  const { signal } = stopping;
  const starting = startHub({ config, log, onFailed: (error) => ended.resolve(error), waitFor, signal });
  const started = starting.catch(async (error) => {
    // A Ctrl-C also ends the child processes, and their end may be noticed first.
    await signalsWereRead();
    throw error;
  });
  const ready = await Promise.race([ended.promise.then(() => null), started]);
  progress.end();
  if (ready !== null) {
    await print(banner(ready, config));
    await ready.admin.passwordWasShown();
    // For the next start, also after a kill.
    flushCompileCache();
  }
  const failure = await ended.promise;
  if (failure === null) process.stdout.write(ready === null ? stoppingStart : stoppingHub);
  else process.stderr.write(`${failure.message}\n`);
  // Even if a part hangs, the process ends with its database and simulator; the next start recovers.
  setTimeout(() => process.exit(1), config.shutdownTimeoutMs).unref();
  stopping.abort();
  // The error of a start that was stopped is not a failure.
  const hub = ready ?? (await starting.catch((error) => void log.debug({ err: error }, "the start was stopped")));
  await hub?.close();
  if (failure === null) process.stdout.write("Stopped.\n");
  process.exit(failure === null ? 0 : 1);
}

async function run(named: Command): Promise<void> {
  // An exit also ends the database that a command has started; the signal alone would not.
  stopOnSignals(() => process.exit(1));
  if (args.some(isHelp)) process.stdout.write(named.usage);
  else
    process.exitCode = await runCommand([command!, named], await readConfig(), args, (line) =>
      process.stdout.write(`${line}\n`),
    );
}

function isHelp(arg: string): boolean {
  return arg === "--help" || arg === "-h" || arg === "help";
}

/** A Ctrl-C arrives twice, once through npm: only the first counts. */
function stopOnSignals(stop: () => void): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, stop);
}

/** Whether this is the script `start` of this package. Scripts of other programs may end before the hub. */
function isRunByNpm(): boolean {
  return process.env.npm_lifecycle_event === "start" && process.env.npm_package_name === "chat4all";
}

async function readConfig(): Promise<Config> {
  const { ConfigError, loadConfig } = await import("./config/config.ts");
  try {
    return loadConfig(process.env);
  } catch (error) {
    if (error instanceof ConfigError) fail(error.message);
    throw error;
  }
}

/** JSON lines on stderr, readable ones when it is a terminal. No token, password or message text is ever logged. */
async function openLog({ logLevel }: Config) {
  const [{ pino }, { openLogger }] = await Promise.all([import("pino"), import("./lib/log.ts")]);
  const destination = process.stderr.isTTY
    ? (await import("pino-pretty")).default({ destination: 2, sync: true, singleLine: true, ignore: "pid,hostname" })
    : pino.destination({ dest: 2, sync: true });
  return openLogger(logLevel, destination);
}

/** Resolves when the text has been written to the terminal, file or pipe; rejects when that is closed. */
function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
  });
}

function fail(message: string): never {
  process.stderr.write(`${message.trimEnd()}\n`);
  process.exit(1);
}
