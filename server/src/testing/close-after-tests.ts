import { after } from "node:test";

/**
 * What the tests of a file (or of the `describe` that calls this) have opened: add each thing as soon as it is open.
 * All of it is closed after the last test, newest first, also when opening the next thing failed.
 */
export function closeAfterTests(): AsyncDisposableStack {
  const opened = new AsyncDisposableStack();
  after(() => opened.disposeAsync());
  return opened;
}
