import pg from "pg";

type Release = (reason?: Error | boolean) => void;

/** Closes one that is released inside a transaction: its locks would stay, and the next user would continue it. */
export function poolMember(connectTimeoutMs: number, onLeftOpen: () => void): typeof pg.Client {
  return class extends pg.Client {
    #release: Release = () => {};

    /** The pool limits how long a caller waits for a connection; this limits how long a new one takes to open. */
    constructor(options?: pg.ClientConfig) {
      super({ ...options, connectionTimeoutMillis: connectTimeoutMs });
    }

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

function isReady(client: pg.Client): boolean {
  return (client as pg.Client & { readyForQuery: boolean }).readyForQuery;
}
