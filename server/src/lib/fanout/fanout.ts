/**
 * Messages from one process to all: what changed, who types, whose credentials to forget. Best effort and at most once:
 * a message is received by the processes that are connected at that moment, and stored nowhere. So it may only make a
 * subscriber find earlier what it would find by polling. Messages of one publisher to one channel arrive in order.
 */
export interface Fanout extends AsyncDisposable {
  /**
   * Returns at once and reports no failure. Subscribers in this process get the message as soon as the current code has
   * run, whether or not the server answers; those in other processes a few milliseconds later, many messages together.
   * Throws a `RangeError` for a message or a channel that is too long or contains NUL. Does nothing after the end.
   */
  publish(channel: string, message: string): void;
  /** Returns a function that unsubscribes and may be called twice. What a listener throws is logged. */
  subscribe(channel: string, listener: (message: string) => void): () => void;
  /**
   * The listener is called whenever messages of other processes may have been lost: after a reconnect, and when another
   * process published more than it could send. It must poll then. Not called for the first connection.
   */
  onReconnect(listener: () => void): () => void;
}

/** The longest message, in bytes of UTF-8. PostgreSQL accepts less than 8,000 for a whole NOTIFY. */
export const maxMessageBytes = 7_000;
/** The longest name of a channel, in bytes of UTF-8. */
export const maxChannelBytes = 200;
/** Most messages that wait to be sent; beyond it the oldest are dropped, and the other processes are notified of a loss. */
export const maxWaitingMessages = 10_000;
