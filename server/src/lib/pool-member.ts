import pg from "pg";

type Release = (reason?: Error | boolean) => void;

export interface PoolMemberOptions {
  connectTimeoutMs: number;
  /** Called when a connection is released inside a transaction, which is a bug of the code that released it. */
  onLeftOpen: () => void;
}

/**
 * The class of a pool's connections. A connection that is released inside a transaction is closed, which rolls it back;
 * otherwise its locks would stay, and the work of the next user would be part of that transaction. The server's own
 * status at the end of each statement (`ReadyForQuery`) decides.
 */
export function poolMember({ connectTimeoutMs, onLeftOpen }: PoolMemberOptions): typeof pg.Client {
  return class extends pg.Client {
    #release: Release = () => {};

    /**
     * The pool's time-out limits how long a caller waits for a connection; opening a new one has a time-out of its own.
     */
    constructor(options?: pg.ClientConfig) {
      super({ ...options, connectionTimeoutMillis: connectTimeoutMs });
    }

    /** The pool sets this each time it hands the connection out. */
    set release(release: Release) {
      this.#release = release;
    }

    get release(): Release {
      const release = this.#release;
      return (reason) => {
        if (reason) return release(reason);
        if (isReady(this)) return this.#giveBack(release);
        // An error arrives before the server's status of the transaction.
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

/** Whether the server waits for a statement. Missing in the types of pg. */
function isReady(client: pg.Client): boolean {
  return (client as pg.Client & { readyForQuery: boolean }).readyForQuery;
}
