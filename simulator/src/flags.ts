import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { SimulatorOptions } from "./simulator.ts";

type Command =
  | { kind: "help" }
  | { kind: "start"; options: SimulatorOptions /** The parent process sends the port. */; inheritsPort: boolean };

const defaultPort = 8090;

export const help = `The platform simulator: WhatsApp and Telegram on this machine, driven through /_sim.

  node simulator/src/main.ts [flags]

  --port <n>         where it listens; 0 takes a free port       SIMULATOR_PORT      ${defaultPort}
  --inherit-port     listens on the server that the parent process sends over IPC
  --host <name>      on which host                                SIMULATOR_HOST      127.0.0.1
  --journal <file>   what the platforms got survives in it       SIMULATOR_JOURNAL   none
  --accounts <json>  accounts, as JSON or as a file of it        SIMULATOR_ACCOUNTS  one of each channel
  --enforce-window <true|false>  whether people must write first  SIMULATOR_ENFORCE_WINDOW  true
  --seed <text>      repeats chance and ids                      SIMULATOR_SEED      new each time
  --help

A flag wins over its environment variable. The README beside this program explains the rest.
`;

export function readCommand(args: readonly string[], env: NodeJS.ProcessEnv): Command {
  const { values } = parseArgs({
    args: [...args],
    options: {
      port: { type: "string" },
      "inherit-port": { type: "boolean" },
      host: { type: "string" },
      journal: { type: "string" },
      accounts: { type: "string" },
      "enforce-window": { type: "string" },
      seed: { type: "string" },
      help: { type: "boolean" },
    },
  });
  if (values.help) return { kind: "help" };
  const journal = values.journal ?? env.SIMULATOR_JOURNAL;
  const accounts = values.accounts ?? env.SIMULATOR_ACCOUNTS;
  const enforceWindow = values["enforce-window"] ?? env.SIMULATOR_ENFORCE_WINDOW;
  const seed = values.seed ?? env.SIMULATOR_SEED;
  return {
    kind: "start",
    inheritsPort: values["inherit-port"] ?? false,
    options: {
      port: readPort(values.port ?? env.SIMULATOR_PORT ?? String(defaultPort)),
      host: values.host ?? env.SIMULATOR_HOST ?? "127.0.0.1",
      ...(journal ? { journal } : {}),
      ...(accounts ? { accounts: readAccounts(accounts) } : {}),
      ...(enforceWindow ? { enforceWindow: readFlag("enforce-window", enforceWindow) } : {}),
      ...(seed ? { seed } : {}),
    },
  };
}

function readPort(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535) throw new Error(`port must be a number from 0 to 65535, not "${text}"`);
  return port;
}

function readFlag(name: string, text: string): boolean {
  if (text !== "true" && text !== "false") throw new Error(`${name} must be true or false, not "${text}"`);
  return text === "true";
}

function readAccounts(text: string): unknown[] {
  const isJson = /^\s*[[{]/.test(text);
  let value: unknown;
  try {
    value = JSON.parse(isJson ? text : readFileSync(text, "utf8"));
  } catch (cause) {
    const what = isJson ? "the accounts" : `the accounts file ${text}`;
    throw new Error(`${what} cannot be read: ${(cause as Error).message}`, { cause });
  }
  return Array.isArray(value) ? value : [value];
}
