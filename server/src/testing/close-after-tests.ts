import { after } from "node:test";

/**
 * What the tests of a file (or of the `describe` that calls this) have opened: add each thing as soon as it is open.
 * All of it is closed after the last test, newest first, also when opening the next thing failed.
 */
export function closeAfterTests(): AsyncDisposableStack {
  const opened = new OpenedThings();
  after(() => opened.disposeAsync());
  return opened;
}

/**
 * In a file of which no test is chosen, Node runs `after` while `before` is still at work: what is opened later is closed
 * at once, and `before` ends with an error, which is of no test.
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
