/**
 * The program cannot start, and the person who started it can do something about it.
 * The message is one sentence (or a list) that says what is wrong and what to do; it needs no stack trace beside it.
 */
export class StartError extends Error {
  override name = "StartError";
}
