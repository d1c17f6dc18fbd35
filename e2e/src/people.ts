import { until } from "../../server/src/testing/until.ts";
import type { InboundPayload, PlatformMessage, SimulatorClient } from "./simulator-client.ts";

/** Someone on a platform, with a phone in hand. */
export interface Person {
  name: string;
  channel: string;
  identifier: string;
  /** `channel:identifier`. */
  address: string;
  /** Writes to the business; returns the platform's id of it. */
  writes(payload: string | InboundPayload, options?: { replyTo?: string }): Promise<string>;
  /** Everything that the platform got for this person, oldest first. */
  received(): Promise<PlatformMessage[]>;
  /** The words of it. */
  texts(): Promise<(string | null)[]>;
  /** Waits for so many messages, and returns all. */
  receives(count: number, withinMs?: number): Promise<PlatformMessage[]>;
}

/** How people are named on a channel: those whose numbers are no plain ones. */
const identifiers: Readonly<Record<string, (number: number) => string>> = {
  whatsapp: (number) => `+55119${String(10_000_000 + number)}`,
};

/** The `number`-th person of a channel: always the same one. */
export function openPerson(simulator: SimulatorClient, channel: string, number: number, name: string): Person {
  const identifier = identifiers[channel]?.(number) ?? String(100_000_000 + number);
  const received = () => simulator.messages({ channel, to: identifier });
  return {
    name,
    channel,
    identifier,
    address: `${channel}:${identifier}`,
    async writes(payload, { replyTo } = {}) {
      const reply = replyTo === undefined ? {} : { reply_to: replyTo };
      return (await simulator.inbound({ channel, from: identifier, name, payload, ...reply })).provider_message_id;
    },
    received,
    texts: async () => (await received()).map(({ text }) => text),
    receives(count, withinMs) {
      const check = async () => {
        const messages = await received();
        return messages.length >= count && messages;
      };
      return until(`${name} receives ${count} messages on ${channel}`, check, withinMs);
    },
  };
}
