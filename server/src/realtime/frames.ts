import { setImmediate } from "node:timers/promises";
import { type FeedEvent, toCursor } from "../events/events.ts";

/** What many clients are sent, serialised once: as text for streams, and as the bytes of a WebSocket frame. */
export interface Frame {
  readonly cursor: string;
  readonly text: string;
  readonly bytes: Buffer;
  /** Of the text, in bytes. */
  readonly size: number;
}

export function frameOf(type: string, cursor: string, fields: Readonly<Record<string, unknown>>): Frame {
  const text = JSON.stringify({ type, cursor, ...fields });
  let bytes: Buffer | undefined;
  return {
    cursor,
    text,
    size: Buffer.byteLength(text),
    get bytes() {
      bytes ??= encode(textOpcode, Buffer.from(text));
      return bytes;
    },
  };
}

/** An event of the feed with its frames: see `FeedEvent`. Where everybody gets the same, all are one object. */
export interface FramedEvent {
  event: FeedEvent;
  frame: Frame;
  memberFrame: Frame;
  partingFrame: Frame;
}

/** Most bytes of frames that are serialised in one turn of the event loop. */
const bytesAtOnce = 256 * 1024;

export async function framesOf(events: readonly FeedEvent[]): Promise<FramedEvent[]> {
  const framed: FramedEvent[] = [];
  let size = 0;
  for (const event of events) {
    if (size > bytesAtOnce) {
      await setImmediate();
      size = 0;
    }
    const one = framesOfEvent(event);
    size += one.frame.size;
    framed.push(one);
  }
  return framed;
}

function framesOfEvent(event: FeedEvent): FramedEvent {
  const toFrame = ({ type, ...fields }: FeedEvent["frame"]) => frameOf(type, toCursor(event), fields);
  const frame = toFrame(event.frame);
  let member: Frame | undefined;
  let parting: Frame | undefined;
  const orSame = (other: FeedEvent["frame"] | null) => (other === null ? frame : toFrame(other));
  return {
    event,
    frame,
    // Made for the first client that needs it, because mostly none does.
    get memberFrame() {
      member ??= orSame(event.memberFrame);
      return member;
    },
    get partingFrame() {
      parting ??= orSame(event.partingFrame);
      return parting;
    },
  };
}

const textOpcode = 0x1;
const pingOpcode = 0x9;

/** Source: RFC 6455, 5.2, an unfragmented frame without a mask. */
function encode(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  const header = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  header[0] = 0x80 | opcode;
  if (length < 126) header[1] = length;
  else if (length < 65_536) {
    header[1] = 126;
    header.writeUInt16BE(length, 2);
  } else {
    header[1] = 127;
    header.writeBigUInt64BE(BigInt(length), 2);
  }
  return Buffer.concat([header, payload]);
}

export const pingBytes = encode(pingOpcode, Buffer.alloc(0));
