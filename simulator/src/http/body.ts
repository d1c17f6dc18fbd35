import { Readable } from "node:stream";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { isRecord } from "../fields.ts";
import type { MediaStore } from "../media/media-store.ts";
import { type Fields, type FilePart, readMultipart, UnreadableBody } from "./multipart.ts";

const maxBodyBytes = 4 << 20;

interface Body {
  /** Whether the values are JSON; otherwise every value is text. */
  readonly json: boolean;
  readonly fields: Fields;
  readonly files: ReadonlyMap<string, FilePart>;
}

const noFiles: ReadonlyMap<string, FilePart> = new Map();

/** Hands bodies of any content type, and of none, to `withBody`: as bytes, and multipart as a stream. */
export function takeRawBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: maxBodyBytes }, (_request, body, done) =>
    done(null, body),
  );
  app.addContentTypeParser("multipart/form-data", (_request, body, done) => done(null, body));
}

/**
 * Runs the call with the fields and files of its JSON, form or multipart body; of JSON only an object will do. No content
 * type is taken as JSON. Files are on disk, at most one byte longer than `maxFileBytes`; those that the call does not
 * keep are deleted when it is over. Throws `UnreadableBody` or `StoreBusy`.
 */
export async function withBody<T>(
  request: FastifyRequest,
  store: MediaStore,
  maxFileBytes: number,
  call: (body: Body) => T | Promise<T>,
): Promise<T> {
  const body = await readBody(request, store, maxFileBytes);
  try {
    return await call(body);
  } finally {
    store.discard([...body.files.values()].map(({ upload }) => upload));
  }
}

async function readBody({ body, headers }: FastifyRequest, store: MediaStore, maxFileBytes: number): Promise<Body> {
  if (body instanceof Readable) return { json: false, ...(await readMultipart(body, headers, store, maxFileBytes)) };
  if (!Buffer.isBuffer(body) || body.length === 0) return { json: false, fields: {}, files: noFiles };
  const type = headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase();
  if (type === "application/x-www-form-urlencoded") {
    return { json: false, fields: Object.fromEntries(new URLSearchParams(body.toString())), files: noFiles };
  }
  return { json: true, fields: readJson(body), files: noFiles };
}

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
