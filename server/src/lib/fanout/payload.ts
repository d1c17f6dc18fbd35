/** How several messages travel as one payload: `<sender> <serial> <lost|->` and a line feed, then each message. */

export interface Message {
  readonly channel: string;
  readonly message: string;
}

interface Payload {
  readonly sender: string;
  /** Its sender dropped messages that were published before these. */
  readonly isAfterLoss: boolean;
  readonly messages: readonly Message[];
}

/** Upper bounds of the heading, and of the lengths in front of one message, in bytes. */
export const headingBytes = 80;
export const messageHeadingBytes = 12;

/** `serial` makes two payloads with the same messages differ: PostgreSQL drops the second of two equal ones. */
export function writePayload({ sender, isAfterLoss, messages }: Payload, serial: number): string {
  const texts = messages.map(({ channel, message }) => `${channel.length} ${message.length} ${channel}${message}`);
  return `${sender} ${serial} ${isAfterLoss ? "lost" : "-"}\n${texts.join("")}`;
}

export function readPayload(text: string): Payload | null {
  const [heading, sender, loss] = /^([\w-]+) \d+ (lost|-)\n/.exec(text) ?? [];
  if (heading === undefined) return null;
  const messages: Message[] = [];
  const lengths = /(\d{1,5}) (\d{1,5}) /y;
  for (let at = heading.length; at < text.length; ) {
    lengths.lastIndex = at;
    const [found, channelLength, messageLength] = lengths.exec(text) ?? [];
    if (found === undefined) return null;
    const channelAt = at + found.length;
    const messageAt = channelAt + Number(channelLength);
    at = messageAt + Number(messageLength);
    if (at > text.length) return null;
    messages.push({ channel: text.slice(channelAt, messageAt), message: text.slice(messageAt, at) });
  }
  return { sender: sender!, isAfterLoss: loss === "lost", messages };
}
