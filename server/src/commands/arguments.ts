import { StartError } from "../lib/start-error.ts";

/** Throws for arguments that the action does not take. */
export function refuseArguments([first]: readonly string[], usage: string): void {
  if (first !== undefined) throw new StartError(`The argument ${first} is not expected.\n\n${usage}`);
}
