interface SeenFrame {
  type: string;
  /** Of the feed; 0 where the frame has none. */
  cursor: number;
}

interface FrameListener {
  /** A text frame, unmasked and whole, as servers here send it. `payload` is valid during the call. */
  onText(payload: Buffer): void;
  onPing(): void;
  onClose(code: number): void;
}

const textOpcode = 0x1;
const closeOpcode = 0x8;
const pingOpcode = 0x9;

/** Cuts what a socket brings into frames, for the least that a client can spend on it. Source: RFC 6455, 5.2. */
export function frameReader({ onText, onPing, onClose }: FrameListener): (chunk: Buffer) => void {
  let pending: Buffer | null = null;
  return (chunk) => {
    let data = pending === null ? chunk : Buffer.concat([pending, chunk]);
    pending = null;
    while (data.length > 0) {
      const frame = cutFrame(data);
      if (frame === null) {
        pending = data;
        return;
      }
      data = data.subarray(frame.end);
      if (frame.opcode === textOpcode) onText(frame.payload);
      else if (frame.opcode === pingOpcode) onPing();
      else if (frame.opcode === closeOpcode) onClose(frame.payload.length < 2 ? 1005 : frame.payload.readUInt16BE(0));
    }
  };
}

/** Null while it is incomplete. */
function cutFrame(data: Buffer): { opcode: number; payload: Buffer; end: number } | null {
  if (data.length < 2) return null;
  const short = data[1]! & 0x7f;
  const headerBytes = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (data.length < headerBytes) return null;
  const length = short < 126 ? short : short === 126 ? data.readUInt16BE(2) : Number(data.readBigUInt64BE(2));
  const end = headerBytes + length;
  if (data.length < end) return null;
  return { opcode: data[0]! & 0x0f, payload: data.subarray(headerBytes, end), end };
}

/** Characters at the beginning of a frame in which its type and cursor stand: the hub writes them first. */
const headLength = 80;

export function seeFrame(payload: Buffer): SeenFrame {
  const head = payload.toString("latin1", 0, headLength);
  const match = /^\{"type":"([A-Z_]+)","cursor":"(\d+)/.exec(head);
  if (match === null) throw new Error(`a frame that does not begin with its type and cursor: ${head}`);
  return { type: match[1]!, cursor: Number(match[2]) };
}

/** A client masks what it sends; four zeros mask nothing. */
export const pongBytes = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);
const startText = Buffer.from('{"type":"start"}');
export const startBytes = Buffer.concat([Buffer.from([0x81, 0x80 | startText.length, 0, 0, 0, 0]), startText]);
