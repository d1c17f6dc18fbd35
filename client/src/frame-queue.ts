export interface FrameQueue<Frame> {
  /** False when it is full: then the frame was not taken. */
  put(frame: Frame): boolean;
  /** The next one; null once it was closed and is empty. */
  take(): Promise<Frame | null>;
  emptied(): Promise<void>;
  /** What is in it can still be taken, unless `isDropped`. */
  close(isDropped: boolean): void;
  readonly size: number;
}

export function openFrameQueue<Frame>(bound: number): FrameQueue<Frame> {
  let frames: Frame[] = [];
  let isClosed = false;
  let awaited: ((frame: Frame | null) => void) | null = null;
  let watchers: (() => void)[] = [];

  function notifyEmpty(): void {
    for (const watcher of watchers) watcher();
    watchers = [];
  }

  return {
    put(frame) {
      if (isClosed || frames.length >= bound) return false;
      if (awaited === null) frames.push(frame);
      else awaited(frame);
      awaited = null;
      return true;
    },
    take() {
      const frame = frames.shift();
      if (frames.length === 0) notifyEmpty();
      if (frame !== undefined) return Promise.resolve(frame);
      if (isClosed) return Promise.resolve(null);
      return new Promise((resolve) => {
        awaited = resolve;
      });
    },
    emptied() {
      if (frames.length === 0 || isClosed) return Promise.resolve();
      return new Promise((resolve) => watchers.push(resolve));
    },
    close(isDropped) {
      isClosed = true;
      if (isDropped) frames = [];
      awaited?.(null);
      awaited = null;
      notifyEmpty();
    },
    get size() {
      return frames.length;
    },
  };
}
