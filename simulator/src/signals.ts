/** What a person is shown besides messages. */
export interface Signal {
  channel: string;
  account: string;
  /** As `Face.person` spells it; null when the platform does not know whom the message is of. */
  to: string | null;
  kind: "read" | "typing";
  /** The message that was read, or is being answered. */
  provider_message_id: string | null;
  received_at: string;
}

/** Signals kept; older ones are forgotten. */
const maxSignals = 10_000;

/** The newest signals, in memory alone: nothing follows from one later. */
export class Signals {
  #kept: Signal[] = [];

  add(signal: Signal): void {
    this.#kept.push(signal);
    if (this.#kept.length > maxSignals) this.#kept = this.#kept.slice(-maxSignals / 2);
  }

  /** Oldest first. */
  list({ channel, to }: { channel?: string | undefined; to?: string | undefined }): Signal[] {
    return this.#kept.filter(
      (signal) => (channel === undefined || signal.channel === channel) && (to === undefined || signal.to === to),
    );
  }

  clear(): void {
    this.#kept = [];
  }
}
