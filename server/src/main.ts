import { pino } from "pino";
import pretty from "pino-pretty";
import { runAuditCommand } from "./audit-command.ts";
import { banner } from "./banner.ts";
import { type Config, ConfigError, describeConfig, formatConfig, loadConfig } from "./config.ts";
import { type Hub, startHub } from "./hub.ts";
import { openLogger } from "./lib/log.ts";
import { StartError } from "./lib/start-error.ts";
import { runSecretsCommand } from "./secrets-command.ts";

const usage = `Usage: npm start [-- <command>]

  (none)   start the hub: the API, the pipeline, the embedded database and the platform simulator
  config   print every configuration key, its meaning, default and current value
  secrets  secrets rotate, secrets reseal: replace what the hub signs and encrypts with
  audit    audit verify: look whether the audit log was changed
  --help   print this

The configuration is read from the environment and from the file .env in this folder.
`;

const command = process.argv[2];
if (command === undefined) await start();
else if (command === "config") process.stdout.write(`${formatConfig(describeConfig(readConfig()))}\n`);
else if (command === "audit") await run(runAuditCommand);
else if (command === "secrets") await run(runSecretsCommand);
else if (command === "--help" || command === "-h" || command === "help") process.stdout.write(usage);
else fail(`There is no command ${command}.\n\n${usage}`);

async function start(): Promise<void> {
  const config = readConfig();
  const log = openLog(config);
  const ended = Promise.withResolvers<Error | null>();
  stopOnSignals(() => ended.resolve(null));
  let hub: Hub;
  try {
    hub = await startHub({ config, log, onFailed: (error) => ended.resolve(error) });
  } catch (error) {
    if (error instanceof StartError) fail(error.message);
    throw error;
  }
  process.stdout.write(banner(hub, config));
  const failure = await ended.promise;
  if (failure === null) process.stdout.write("Stopping: no new work is taken, what is under way is finished.\n");
  else process.stderr.write(`${failure.message}\n`);
  // Whatever hangs, the process ends; what it leaves is recovered by the next start.
  setTimeout(() => process.exit(1), config.shutdownTimeoutMs).unref();
  await hub.close();
  process.exit(failure === null ? 0 : 1);
}

type Command = (config: Config, args: readonly string[], print: (line: string) => void) => Promise<number>;

async function run(command: Command): Promise<void> {
  const config = readConfig();
  try {
    process.exitCode = await command(config, process.argv.slice(3), (line) => process.stdout.write(`${line}\n`));
  } catch (error) {
    if (error instanceof StartError) fail(error.message);
    throw error;
  }
}

/** A terminal's Ctrl-C reaches us twice, once through npm: only the first counts. */
function stopOnSignals(stop: () => void): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, stop);
}

function readConfig(): Config {
  try {
    return loadConfig(process.env);
  } catch (error) {
    if (error instanceof ConfigError || error instanceof StartError) fail(error.message);
    throw error;
  }
}

/** JSON lines on stderr, readable ones when it is a terminal. No token, password or message text is ever logged. */
function openLog({ logLevel }: Config) {
  const destination = process.stderr.isTTY
    ? pretty({ destination: 2, sync: true, ignore: "pid,hostname" })
    : pino.destination({ dest: 2, sync: true });
  return openLogger(logLevel, destination);
}

function fail(message: string): never {
  process.stderr.write(`${message.trimEnd()}\n`);
  process.exit(1);
}
