import { PairMap } from "./collections.ts";

/** Most accounts at once; each may hold connections and queues. */
export const maxAccounts = 10_000;

/** One connected number or bot, as its platform knows it. Credentials are shown: nothing here is secret. */
export interface Account {
  readonly channel: string;
  readonly id: string;
  readonly token: string;
  /** Where the platform sends its webhooks; `undefined`: nowhere. */
  readonly webhookUrl: string | undefined;
  readonly fields: Readonly<Record<string, unknown>>;
}

export class Accounts {
  readonly #byId = new PairMap<Account>();
  readonly #byToken = new PairMap<Account>();

  put(account: Account): void {
    const before = this.find(account.channel, account.id);
    this.#byId.set(account.channel, account.id, account);
    if (before && before.token !== account.token) this.#byToken.delete(before.channel, before.token);
    for (const known of before ? this.#byId.values() : [account]) {
      this.#byToken.set(known.channel, known.token, known);
    }
  }

  find(channel: string, id: string): Account | undefined {
    return this.#byId.get(channel, id);
  }

  findByToken(channel: string, token: string): Account | undefined {
    return this.#byToken.get(channel, token);
  }

  list(channel?: string): Account[] {
    const all = [...this.#byId.values()];
    return channel === undefined ? all : all.filter((account) => account.channel === channel);
  }
}
