import pg from "pg";

type Release = (reason?: Error | boolean) => void;

export interface PoolMemberOptions {
  connectTimeoutMs: number;
  /** A connection was given back while a transaction was open on it: a bug of the one that gave it back. */
  onLeftOpen: () => void;
}

/**
 * The class of a pool's connections. One that is given back inside a transaction is closed, which rolls back, and not used
 * again: its locks would be held, and what others do on it would be undone, until somebody ends the transaction. What counts
 * is the server's own word at the end of each statement (`ReadyForQuery`).
 */
export function poolMember({ connectTimeoutMs, onLeftOpen }: PoolMemberOptions): typeof pg.Client {
  return class extends pg.Client {
    #release: Release = () => {};

    /** The pool's time-out limits how long a caller waits for a connection; opening a new one has its own. */
    constructor(options?: pg.ClientConfig) {
      super({ ...options, connectionTimeoutMillis: connectTimeoutMs });
    }

    /** What the pool gives to the next one that takes the connection. */
    set release(release: Release) {
      this.#release = release;
    }

    get release(): Release {
      const release = this.#release;
      return (reason) => {
        if (reason) return release(reason);
        if (isReady(this)) return this.#giveBack(release);
        // A refusal comes before the server says where it leaves the transaction.
        const settle = () => {
          this.off("drain", settle).off("end", settle);
          this.#giveBack(release);
        };
        this.on("drain", settle).on("end", settle);
      };
    }

    #giveBack(release: Release): void {
      const isOpen = isReady(this) && this.getTransactionStatus() !== "I";
      if (isOpen) onLeftOpen();
      release(isOpen);
    }
  };
}

/** Whether the server waits for a statement. What the types of pg leave out. */
function isReady(client: pg.Client): boolean {
  return (client as pg.Client & { readyForQuery: boolean }).readyForQuery;
}
