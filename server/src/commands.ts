import type { CommandDatabase } from "./command-database.ts";
import type { Config } from "./config.ts";
import { StartError } from "./lib/start-error.ts";

/** `npm start -- <command> <action> …` */
export interface Command {
  usage: string;
  /** By name; a command that has only one names it `""`. */
  actions: Readonly<Record<string, Action>>;
}

export interface Action {
  /** False: it would break a hub on the same data, so `openDatabase` throws while one runs. */
  mayRunBesideHub: boolean;
  /** Resolves with the exit code. Throws a `StartError` for what the operator can correct. */
  run(call: CommandCall): Promise<number>;
}

export interface CommandCall {
  config: Config;
  /** What follows the name of the action. */
  args: readonly string[];
  print: (line: string) => void;
  /** The only way to a database: see `Action.mayRunBesideHub`. */
  openDatabase(): Promise<CommandDatabase>;
}

/** Loaded when they are needed, to keep the start short. */
export const commands: Readonly<Record<string, () => Promise<Command>>> = {
  config: async () => (await import("./config-command.ts")).configCommand,
  secrets: async () => (await import("./secrets-command.ts")).secretsCommand,
  audit: async () => (await import("./audit-command.ts")).auditCommand,
  admin: async () => (await import("./admin-command.ts")).adminCommand,
};

/** Finds the action that the arguments name, and runs it. */
export async function runCommand(
  [command, { usage, actions }]: [name: string, Command],
  config: Config,
  args: readonly string[],
  print: (line: string) => void,
): Promise<number> {
  const isOnly = "" in actions;
  const name = isOnly ? "" : args[0];
  if (name === undefined) throw new StartError(`A command is missing behind ${command}.\n\n${usage}`);
  if (!Object.hasOwn(actions, name)) throw new StartError(`There is no command ${command} ${name}.\n\n${usage}`);
  const { mayRunBesideHub, run } = actions[name]!;
  const openDatabase = async () => {
    const { openCommandDatabase } = await import("./command-database.ts");
    return openCommandDatabase(config, { mayRunBesideHub });
  };
  return run({ config, args: isOnly ? args : args.slice(1), print, openDatabase });
}
