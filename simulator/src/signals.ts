/** A read mark or typing that a person is shown. */
interface Signal {
  channel: string;
  account: string;
  to: string | null;
  kind: "read" | "typing";
  provider_message_id: string | null;
  received_at: string;
}

const maxSignals = 10_000;

/** The newest signals, in memory only: nothing depends on them later. */
export class Signals {
  #kept: Signal[] = [];

  add(signal: Signal): void {
    this.#kept.push(signal);
    if (this.#kept.length > maxSignals) this.#kept = this.#kept.slice(-maxSignals / 2);
  }

  list({ channel, to }: { channel?: string | undefined; to?: string | undefined }): Signal[] {
    return this.#kept.filter(
      (signal) => (channel === undefined || signal.channel === channel) && (to === undefined || signal.to === to),
    );
  }

  clear(): void {
    this.#kept = [];
  }
}
