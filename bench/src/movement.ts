/**
 * A bench fails when nothing moves, never because a machine is slow. Code that counts something calls `moved` when the
 * count changes: a response, a received message, an open socket, a finished turn. Children report to their parent.
 */
export interface Supervision extends Disposable {
  /** Rejects with a `Standstill` once nothing has moved for `stillMs`. */
  readonly standstill: Promise<never>;
}

export class Standstill extends Error {
  override readonly name = "Standstill";
}

/** The longest time without any movement, in milliseconds: many times what a step takes on the slowest machine. */
const stillMs = 90_000;
const checksPerLimit = 20;
const reportEveryMs = 1_000;

let last = { at: performance.now(), what: "the start" };
let report: ((what: string) => void) | null = null;

export function moved(what: string): void {
  const now = performance.now();
  if (report === null) last = { at: now, what };
  else if (now - last.at >= reportEveryMs) {
    last = { at: now, what };
    report(what);
  }
}

let lastState = "";

/** For what polls: the same state again is no movement. */
export function movedTo(state: string): void {
  if (state === lastState) return;
  lastState = state;
  moved(state);
}

/** In a child: movements go to the parent, at most one a second. */
export function reportMovements(send: (what: string) => void): void {
  report = send;
}

export function supervise(limitMs = stillMs): Supervision {
  moved("the start");
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => {});
  const timer = setInterval(() => {
    if (performance.now() - last.at < limitMs) return;
    reject(new Standstill(`Nothing has moved for ${limitMs / 1_000} s. The last movement was: ${last.what}.`));
  }, limitMs / checksPerLimit);
  return { standstill: promise, [Symbol.dispose]: () => clearInterval(timer) };
}
