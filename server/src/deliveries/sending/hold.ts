import type { Clock } from "../../lib/clock.ts";

/** Holds the lanes of an account that cannot send until it is active again. */
export interface Hold {
  isHeld(): boolean;
  begin(): void;
  close(): void;
}

interface HoldParts {
  clock: Clock;
  /** Whether the account can send again. While it rejects, the hold stays. */
  isOver: () => Promise<boolean>;
  release: () => void;
}

const checkMs = 500;

export function openHold({ clock, isOver, release }: HoldParts): Hold {
  let isHeld = false;
  let isClosed = false;
  let cancelTimer = () => {};
  const check = async () => {
    const isDone = await isOver().catch(() => false);
    if (isClosed) return;
    if (!isDone) return wait();
    isHeld = false;
    release();
  };
  function wait(): void {
    cancelTimer = clock.after(checkMs, () => void check());
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
