/**
 * Messages from one process to all, at most once: they are not stored, so a message may only make a subscriber find
 * earlier what it would find by polling. Messages of one publisher to one channel arrive in order.
 */
export interface Fanout extends AsyncDisposable {
  /**
   * Returns at once and reports no failure. Subscribers in this process get the message when the current code has run,
   * also while the server does not respond; those in other processes within milliseconds. Throws a `RangeError` for a
   * message or a channel that is too long or contains NUL. Does nothing after the end.
   */
  publish(channel: string, message: string): void;
  /** Returns a function that unsubscribes and may be called twice. What a listener throws is logged. */
  subscribe(channel: string, listener: (message: string) => void): () => void;
  /**
   * Called when messages of other processes may have been lost, by a reconnect or because another process published
   * more than it could send: poll then.
   */
  onReconnect(listener: () => void): () => void;
}

/** The longest message, in bytes of UTF-8. PostgreSQL accepts less than 8,000 for a whole NOTIFY. */
export const maxMessageBytes = 7_000;
export const maxChannelBytes = 200;
/** Most messages that wait to be sent. Beyond it the oldest are dropped, and the others are notified of the loss. */
export const maxWaitingMessages = 10_000;
