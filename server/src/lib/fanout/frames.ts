/** How several messages travel as one payload: `<sender> <serial> <lost|->` and a line feed, then one frame each. */

export interface Frame {
  readonly channel: string;
  readonly message: string;
}

export interface Payload {
  /** The process that wrote it. */
  readonly sender: string;
  /** Its sender could not pass on messages that were published before these. */
  readonly isAfterLoss: boolean;
  readonly frames: readonly Frame[];
}

/** What the heading and the lengths in front of one frame take at most, in bytes. */
export const headingBytes = 80;
export const frameHeadingBytes = 12;

/** `serial` makes two payloads with the same messages differ: PostgreSQL drops the second of two equal ones. */
export function writePayload(payload: Payload, serial: number): string {
  const frames = payload.frames.map(
    ({ channel, message }) => `${channel.length} ${message.length} ${channel}${message}`,
  );
  return `${payload.sender} ${serial} ${payload.isAfterLoss ? "lost" : "-"}\n${frames.join("")}`;
}

/** `null` when it is not one of ours. */
export function readPayload(text: string): Payload | null {
  const [heading, sender, loss] = /^([\w-]+) \d+ (lost|-)\n/.exec(text) ?? [];
  if (heading === undefined) return null;
  const frames: Frame[] = [];
  const lengths = /(\d{1,5}) (\d{1,5}) /y;
  for (let at = heading.length; at < text.length; ) {
    lengths.lastIndex = at;
    const [found, channelLength, messageLength] = lengths.exec(text) ?? [];
    if (found === undefined) return null;
    const channelAt = at + found.length;
    const messageAt = channelAt + Number(channelLength);
    at = messageAt + Number(messageLength);
    if (at > text.length) return null;
    frames.push({ channel: text.slice(channelAt, messageAt), message: text.slice(messageAt, at) });
  }
  return { sender: sender!, isAfterLoss: loss === "lost", frames };
}
