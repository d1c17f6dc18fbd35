import { StartError } from "../lib/start-error.ts";

export function refuseArguments([first]: readonly string[], usage: string): void {
  if (first !== undefined) throw new StartError(`The argument ${first} is not expected.\n\n${usage}`);
}
