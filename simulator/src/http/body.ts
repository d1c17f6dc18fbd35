import type { FastifyInstance } from "fastify";
import { isRecord } from "../fields.ts";

/** The largest request body that a platform takes here, uploads included. */
const maxBodyBytes = 4 << 20;

/** A body that is not what its content type says. */
export class UnreadableBody extends Error {
  override readonly name = "UnreadableBody";
}

/** Hands bodies of any content type, and of none, to the handlers as bytes. */
export function takeRawBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: maxBodyBytes }, (_request, body, done) =>
    done(null, body),
  );
}

/**
 * The fields of a JSON, form or multipart body; of JSON only an object will do. In the other two, every value is text.
 * No content type is taken as JSON. Throws `UnreadableBody`.
 */
export function readFields(body: unknown, contentType: string | undefined): { json: boolean; fields: Fields } {
  if (!Buffer.isBuffer(body) || body.length === 0) return { json: false, fields: {} };
  const type = contentType?.split(";", 1)[0]?.trim().toLowerCase();
  if (type === "application/x-www-form-urlencoded") {
    return { json: false, fields: Object.fromEntries(new URLSearchParams(body.toString())) };
  }
  if (type === "multipart/form-data") {
    const fields = parseMultipart(body, contentType!);
    if (!fields) throw new UnreadableBody("the multipart body has no readable boundary");
    return { json: false, fields };
  }
  return { json: true, fields: readJson(body) };
}

/** Values by name. */
export type Fields = Record<string, unknown>;

function readJson(body: Buffer): Fields {
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch (cause) {
    throw new UnreadableBody("the body is not JSON", { cause });
  }
  if (!isRecord(value)) throw new UnreadableBody("the body is not a JSON object");
  return value;
}

/** Most parts read from one body. */
const maxParts = 200;

/** An uploaded file: its bytes are counted, not kept. */
interface UploadedFile {
  filename: string;
  content_type: string;
  size: number;
}

/**
 * The parts of a `multipart/form-data` body by name: text as a string, files as `UploadedFile`.
 * `undefined` when the body does not follow its boundary.
 */
function parseMultipart(body: Buffer, contentType: string): Record<string, string | UploadedFile> | undefined {
  const boundary = /boundary=(?:"([^"]{1,200})"|([^;\s]{1,200}))/i.exec(contentType);
  if (!boundary) return undefined;
  const delimiter = Buffer.from(`--${boundary[1] ?? boundary[2]}`);
  const fields: Record<string, string | UploadedFile> = {};
  let start = body.indexOf(delimiter);
  for (let part = 0; part < maxParts && start >= 0; part++) {
    const from = start + delimiter.length;
    if (body.toString("latin1", from, from + 2) === "--") return fields;
    const end = body.indexOf(delimiter, from);
    if (end < 0) return undefined;
    addPart(fields, body.subarray(from + 2, end - 2));
    start = end;
  }
  return undefined;
}

function addPart(fields: Record<string, string | UploadedFile>, part: Buffer): void {
  const headEnd = part.indexOf("\r\n\r\n");
  if (headEnd < 0) return;
  const head = part.toString("utf8", 0, headEnd);
  const content = part.subarray(headEnd + 4);
  const name = /^content-disposition:.*?[;\s]name="([^"]*)"/im.exec(head)?.[1];
  if (name === undefined) return;
  const filename = /^content-disposition:.*?[;\s]filename="([^"]*)"/im.exec(head)?.[1];
  const type = /^content-type:\s*(\S+)/im.exec(head)?.[1] ?? "application/octet-stream";
  fields[name] = filename === undefined ? content.toString() : { filename, content_type: type, size: content.length };
}
