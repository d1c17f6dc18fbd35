import { after } from "node:test";

/**
 * A stack for what the tests of a file (or of the `describe` that calls this) open: add each thing as soon as it is
 * open. It is closed after the last test, newest first, even if opening the next thing failed.
 */
export function closeAfterTests(): AsyncDisposableStack {
  const opened = new OpenedThings();
  after(() => opened.disposeAsync());
  return opened;
}

/**
 * In a file without a selected test, Node runs `after` while `before` still runs: what is opened later is closed at
 * once, and `before` ends with an error that counts for no test.
 */
class OpenedThings extends AsyncDisposableStack {
  override use<T extends AsyncDisposable | Disposable | null | undefined>(value: T): T {
    this.#closeIfLate((late) => late.use(value));
    return super.use(value);
  }

  override adopt<T>(value: T, close: (value: T) => PromiseLike<void> | void): T {
    this.#closeIfLate((late) => late.adopt(value, close));
    return super.adopt(value, close);
  }

  override defer(close: () => PromiseLike<void> | void): void {
    this.#closeIfLate((late) => late.defer(close));
    super.defer(close);
  }

  #closeIfLate(add: (late: AsyncDisposableStack) => void): void {
    if (!this.disposed) return;
    const late = new AsyncDisposableStack();
    add(late);
    void late.disposeAsync();
  }
}
