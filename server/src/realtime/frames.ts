/** What is sent to many, serialised once: as text for streams, and as the bytes of a WebSocket frame. */
export interface Frame {
  readonly cursor: string;
  readonly text: string;
  /** Unmasked, as a server sends it. */
  readonly bytes: Buffer;
  /** Of the text, in bytes. */
  readonly size: number;
}

/** The first call for either form makes it; all receivers share it. */
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
