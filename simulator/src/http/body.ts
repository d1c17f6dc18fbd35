import type { FastifyInstance } from "fastify";
import { isRecord } from "../fields.ts";

const maxBodyBytes = 4 << 20;

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
export async function readFields(
  body: unknown,
  contentType: string | undefined,
): Promise<{ json: boolean; fields: Fields }> {
  if (!Buffer.isBuffer(body) || body.length === 0) return { json: false, fields: {} };
  const type = contentType?.split(";", 1)[0]?.trim().toLowerCase();
  if (type === "application/x-www-form-urlencoded") {
    return { json: false, fields: Object.fromEntries(new URLSearchParams(body.toString())) };
  }
  if (type === "multipart/form-data") {
    return { json: false, fields: await readMultipart(body, contentType!) };
  }
  return { json: true, fields: readJson(body) };
}

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

/** Text as a string; of a file only its name, type and size. */
async function readMultipart(body: Buffer, contentType: string): Promise<Fields> {
  const headers = { "content-type": contentType };
  const form = await new Response(new Uint8Array(body), { headers }).formData().catch((cause) => {
    throw new UnreadableBody("the body is not multipart/form-data", { cause });
  });
  const shown = (value: string | File) =>
    typeof value === "string" ? value : { filename: value.name, content_type: value.type, size: value.size };
  return Object.fromEntries([...form].map(([name, value]) => [name, shown(value)]));
}
