import type { Config } from "../config/config.ts";
import { StartError } from "../lib/start-error.ts";
import type { Command } from "./command.ts";

/** Loaded when needed, to keep the start short. */
export const commands: Readonly<Record<string, () => Promise<Command>>> = {
  config: async () => (await import("./config.ts")).configCommand,
  secrets: async () => (await import("./secrets.ts")).secretsCommand,
  audit: async () => (await import("./audit.ts")).auditCommand,
  admin: async () => (await import("./admin.ts")).adminCommand,
};

export async function runCommand(
  [command, { usage, actions }]: [name: string, Command],
  config: Config,
  args: readonly string[],
  print: (line: string) => void,
): Promise<number> {
  const isOnly = "" in actions;
  const name = isOnly ? "" : args[0];
  if (name === undefined) throw new StartError(`${command} needs a command.\n\n${usage}`);
  if (!Object.hasOwn(actions, name)) throw new StartError(`There is no command ${command} ${name}.\n\n${usage}`);
  const { mayRunBesideHub, run } = actions[name]!;
  const openDatabase = async () => {
    const { openCommandDatabase } = await import("./database.ts");
    return openCommandDatabase(config, { mayRunBesideHub });
  };
  return run({ config, args: isOnly ? args : args.slice(1), print, openDatabase });
}
