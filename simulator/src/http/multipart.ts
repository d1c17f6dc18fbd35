import type { IncomingHttpHeaders } from "node:http";
import type { Readable } from "node:stream";
import type { BusboyFileStream, BusboyInstance } from "@fastify/busboy";
import { type MediaStore, StoreBusy, type Upload } from "../media/media-store.ts";

export type Fields = Record<string, unknown>;

export class UnreadableBody extends Error {
  override readonly name = "UnreadableBody";
}

const maxFiles = 10;
const maxFields = 100;
const maxFieldBytes = 1 << 20;

/** The connection of a client that sends more is closed. */
const maxBodyBytes = 256 << 20;

/** A file part. Without a file name, `filename` is `null`. */
export interface FilePart {
  readonly filename: string | null;
  /** As declared; `application/octet-stream` when it is not. */
  readonly mimeType: string;
  /** One byte longer than `maxFileBytes` when the file is larger. */
  readonly upload: Upload;
}

/**
 * Streams the files of a multipart body to disk. Keep or discard each upload. On an error, which is an
 * `UnreadableBody`, a `StoreBusy` or an error of the disk, none is left.
 */
export async function readMultipart(
  body: Readable,
  headers: IncomingHttpHeaders,
  store: MediaStore,
  maxFileBytes: number,
): Promise<{ fields: Fields; files: ReadonlyMap<string, FilePart> }> {
  const fields = new Map<string, string>();
  const files = new Map<string, FilePart>();
  const streams: BusboyFileStream[] = [];
  const writes: Promise<void>[] = [];
  const busboy = await openBusboy(headers, maxFileBytes + 1);
  const parsed = new Promise<void>((resolve, reject) => {
    const refuse = (what: string) => () => reject(new UnreadableBody(what));
    let bytes = 0;
    busboy.on("field", (name, value, _isNameCut, isCut) => {
      if (isCut) reject(new UnreadableBody(`the field ${name} is longer than ${maxFieldBytes} bytes`));
      else fields.set(name, value);
    });
    busboy.on("file", (name, stream, filename, _encoding, mimeType) => {
      streams.push(stream);
      // Busboy emits the error of a file that is cut off, but does not destroy the stream.
      stream.on("error", (error) => stream.destroy(error));
      const write = store.write(stream, maxFileBytes + 1).then((upload) => {
        if (files.has(name)) store.discard([upload]);
        else files.set(name, { filename: filename ?? null, mimeType, upload });
      });
      writes.push(write);
      write.catch((error) => reject(isOfStore(error) ? error : new UnreadableBody("a file was cut off")));
    });
    for (const limit of ["partsLimit", "filesLimit", "fieldsLimit"] as const)
      busboy.on(limit, refuse("the body has too many parts"));
    busboy.on("finish", resolve);
    busboy.on("error", refuse("the body is not multipart/form-data"));
    body.on("error", refuse("the body was cut off"));
    body.on("close", () => {
      if (!body.readableEnded) reject(new UnreadableBody("the body was cut off"));
    });
    body.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > maxBodyBytes) body.destroy();
    });
    if (body.destroyed) refuse("the body was cut off")();
    else body.pipe(busboy);
  });
  try {
    await parsed;
    await Promise.all(writes);
    return { fields: Object.fromEntries(fields), files };
  } catch (error) {
    body.unpipe(busboy);
    body.resume();
    for (const stream of streams) stream.destroy(new Error("the form was not read to its end"));
    await Promise.allSettled(writes);
    store.discard([...files.values()].map(({ upload }) => upload));
    throw error;
  }
}

/** The library is loaded with the first form, so that the simulator starts sooner. */
async function openBusboy(headers: IncomingHttpHeaders, maxFileBytes: number): Promise<BusboyInstance> {
  const { Busboy } = await import("@fastify/busboy");
  const limits = { files: maxFiles, fields: maxFields, fieldSize: maxFieldBytes, fileSize: maxFileBytes };
  try {
    return new Busboy({ headers: { ...headers, "content-type": headers["content-type"] ?? "" }, limits });
  } catch (cause) {
    throw new UnreadableBody("the body is not multipart/form-data", { cause });
  }
}

function isOfStore(error: Error): boolean {
  return error instanceof StoreBusy || "syscall" in error;
}
