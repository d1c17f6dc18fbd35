import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import type { HttpCall } from "../lib/http.ts";
import type { ConnectorIo, OutboundFile } from "./connector.ts";

/**
 * A form with a file, which is read while it is sent. `name`: the field of the file. Sources: RFC 7578, and the HTML
 * standard for the escapes in names.
 */
export async function multipart(
  { timeoutMs }: Pick<ConnectorIo, "timeoutMs">,
  fields: Readonly<Record<string, string>>,
  name: string,
  file: OutboundFile,
): Promise<Pick<HttpCall, "headers" | "body" | "timeoutMs">> {
  const boundary = `chat4all-${randomUUID()}`;
  const texts = Object.entries(fields).map(
    ([field, value]) => `--${boundary}\r\ncontent-disposition: form-data; name="${field}"\r\n\r\n${value}\r\n`,
  );
  const head = Buffer.from(
    `${texts.join("")}--${boundary}\r\ncontent-disposition: form-data; name="${name}"; filename="${escaped(file.filename)}"\r\n` +
      `content-type: ${file.contentType}\r\n\r\n`,
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  const source = await file.open();
  let isSent = false;
  async function* chunks(): AsyncGenerator<Buffer> {
    yield head;
    let left = file.bytes;
    for await (const chunk of source as AsyncIterable<Buffer>) {
      left -= chunk.length;
      yield chunk;
    }
    if (left !== 0) throw new Error("The file has another size than is known of it.");
    isSent = true;
    yield tail;
  }
  const stream = Readable.from(chunks(), { objectMode: false });
  stream.once("close", () => source.destroy());
  return {
    headers: {
      "content-type": `multipart/form-data; boundary=${boundary}`,
      "content-length": String(head.length + file.bytes + tail.length),
    },
    body: { stream, isSent: () => isSent },
    timeoutMs: timeoutMs + file.bytes / leastBytesPerMs,
  };
}

/** An upload may take as long as at this rate, beside the time of any request: 1 MB/s. */
export const leastBytesPerMs = 1_000;

function escaped(filename: string): string {
  return filename.toWellFormed().replace(/["\r\n]/g, encodeURIComponent);
}
