/**
 * Word from one process to all: what changed, who is typing, whom to forget. Best effort and at most once: a message
 * is heard by the processes that listen at that moment and kept nowhere, so it may only ever hasten what a listener
 * would find out by looking for itself. Messages of one publisher to one channel are heard in the order of `publish`.
 */
export interface Fanout extends AsyncDisposable {
  /**
   * Fire and forget: returns at once and tells of no failure. Listeners of this process hear it as soon as the current
   * code has run, whether or not the server is there; those of other processes a few milliseconds later, many messages
   * together. Throws a `RangeError` for a message or a channel that is too long or holds a NUL. After the end it does
   * nothing.
   */
  publish(channel: string, message: string): void;
  /** The returned function ends it and may be called twice. What a listener throws is logged and stops nothing. */
  subscribe(channel: string, listener: (message: string) => void): () => void;
  /**
   * Called whenever messages of other processes may have been missed: after a lost connection stands again, and when
   * another process had more to say than it could pass on. Whoever listens then looks for itself. Not called for the
   * first connection.
   */
  onReconnect(listener: () => void): () => void;
}

/** The longest message, in bytes of UTF-8. PostgreSQL takes less than 8,000 for a whole NOTIFY. */
export const maxMessageBytes = 7_000;
/** The longest name of a channel, in bytes of UTF-8. */
export const maxChannelBytes = 200;
/** Messages that wait to be passed on; beyond it the oldest are dropped, and the other processes told to look. */
export const maxWaitingMessages = 10_000;
