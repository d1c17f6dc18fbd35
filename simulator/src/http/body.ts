import type { FastifyInstance } from "fastify";
import { isRecord } from "../fields.ts";
import { parseMultipart } from "./multipart.ts";

/** The largest request body that a platform takes here, uploads included. */
export const MAX_BODY_BYTES = 4 << 20;

/** A body that is not what its content type says. */
export class UnreadableBody extends Error {
  override readonly name = "UnreadableBody";
}

/** Hands bodies of any content type, and of none, to the handlers as bytes. */
export function takeRawBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: MAX_BODY_BYTES }, (_request, body, done) =>
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
