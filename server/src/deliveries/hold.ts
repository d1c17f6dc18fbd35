import type { Clock } from "../lib/clock.ts";

/** Holds the lanes of an account that cannot send, until the account is active again. */
export interface Hold {
  isHeld(): boolean;
  /** Safe to call while it is held. */
  begin(): void;
  close(): void;
}

export interface HoldParts {
  clock: Clock;
  /** Whether the account can send again. Rejects when the database does not answer; then the hold stays. */
  isOver: () => Promise<boolean>;
  release: () => void;
}

/** How often a hold checks whether the account is active again, in milliseconds. */
const lookMs = 500;

export function openHold({ clock, isOver, release }: HoldParts): Hold {
  let isHeld = false;
  let isClosed = false;
  let cancelTimer = () => {};
  const look = async () => {
    const isDone = await isOver().catch(() => false);
    if (isClosed) return;
    if (!isDone) return wait();
    isHeld = false;
    release();
  };
  function wait(): void {
    cancelTimer = clock.after(lookMs, () => void look());
  }
  return {
    isHeld: () => isHeld,
    begin() {
      if (isHeld || isClosed) return;
      isHeld = true;
      wait();
    },
    close() {
      isClosed = true;
      cancelTimer();
    },
  };
}
