import type { Config } from "../config/config.ts";
import type { CommandDatabase } from "./database.ts";

/** `npm start -- <command> <action> …` */
export interface Command {
  usage: string;
  /** By name; `""` for the only action of a command. */
  actions: Readonly<Record<string, Action>>;
}

interface Action {
  /** False: it would break a hub on the same data, so `openDatabase` throws while one runs. */
  mayRunBesideHub: boolean;
  /** Resolves with the exit code. Throws a `StartError` for what the operator can correct. */
  run(call: CommandCall): Promise<number>;
}

export interface CommandCall {
  config: Config;
  /** The arguments after the action's name. */
  args: readonly string[];
  print: (line: string) => void;
  /** The only way to a database: see `Action.mayRunBesideHub`. */
  openDatabase(): Promise<CommandDatabase>;
}
