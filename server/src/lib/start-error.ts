/** The message says what is wrong and what the operator can do; it needs no stack trace beside it. */
export class StartError extends Error {
  override name = "StartError";
}
