import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { fileTypeFromBuffer, supportedMimeTypes } from "file-type";
import mimeTypes from "mime-types";
import { RequestError } from "../errors.ts";
import type { ByteRange } from "../lib/object-store/object-store.ts";

export type FoundType = { kind: "allowed"; contentType: string } | { kind: "refused"; message: string };

export interface AllowedTypes {
  /** FILE_TYPE_INVALID for a type that no bytes could make acceptable. */
  requireDeclared(contentType: string | null): void;
  /** What the bytes are; neither their name nor the uploader decides. */
  find(
    file: { filename: string; bytes: number; content_type: string | null },
    read: (range: ByteRange) => Promise<Readable>,
  ): Promise<FoundType>;
}

/** Bytes that are looked at: documents in a zip archive say what they are among its first entries. */
const lookedAt = 1024 * 1024;

/** `allowed`: media types; `*` at the end of one stands for all that begin so. */
export function openAllowedTypes(allowed: readonly string[]): AllowedTypes {
  const isAllowed = (type: string) =>
    allowed.some((one) => (one.endsWith("*") ? type.startsWith(one.slice(0, -1)) : one === type));
  const refusal = (type: string) =>
    `Files of the type ${type} are not allowed here. Send another type, or ask the operator to change FILES_ALLOWED_TYPES.`;
  return {
    requireDeclared(contentType) {
      if (contentType === null || contentType === unknownType || isAllowed(contentType.toLowerCase())) return;
      throw new RequestError("FILE_TYPE_INVALID", refusal(contentType), { details: { field: "content_type" } });
    },
    async find({ filename, bytes, content_type }, read) {
      const head =
        bytes === 0 ? Buffer.alloc(0) : await buffer(await read({ start: 0, end: Math.min(bytes, lookedAt) - 1 }));
      const named = mimeTypes.lookup(filename) || null;
      const found = (await fileTypeFromBuffer(head))?.mime.split(";", 1)[0] ?? null;
      const contentType = found ?? withoutSignature(head, named, content_type);
      if (named !== null && !mayBeCalled(named, contentType)) {
        return {
          kind: "refused",
          message: `The file name says ${named}, but the content is ${contentType}: rename it, or send another file.`,
        };
      }
      return isAllowed(contentType)
        ? { kind: "allowed", contentType }
        : { kind: "refused", message: refusal(contentType) };
    },
  };
}

export const unknownType = "application/octet-stream";

const isTextual = (type: string | null): type is string =>
  type !== null &&
  /^(text\/|message\/rfc822$|image\/svg\+xml$|application\/(json|xml|.*\+json|.*\+xml|x-ndjson|yaml)$)/.test(type);

/** Of bytes without a known signature: text, by its name, or unknown. */
function withoutSignature(head: Buffer, named: string | null, declared: string | null): string {
  if (head.includes(0) && !hasUtf16Mark(head)) return unknownType;
  return [named, declared].find(isTextual) ?? "text/plain";
}

function hasUtf16Mark(head: Buffer): boolean {
  return (head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff);
}

const signed: ReadonlySet<string> = supportedMimeTypes as ReadonlySet<string>;
const containers: Record<string, RegExp> = {
  "application/zip": /zip|openxmlformats|opendocument|java-archive|vnd\.ms-.*macro/,
  "application/x-cfb": /msword|vnd\.ms-|visio/,
  "application/xml": /xml/,
};

/** Whether a file whose bytes are `found` may have a name that stands for `named`. */
function mayBeCalled(named: string, found: string): boolean {
  if (named === found || !signed.has(named)) return true;
  const [kind] = named.split("/");
  const [foundKind] = found.split("/");
  if (kind !== "application" && kind === foundKind) return true;
  if (["audio", "video"].includes(kind!) && ["audio", "video"].includes(foundKind!)) return true;
  return containers[found]?.test(named) ?? false;
}

/** What a browser shows without running anything of it. The viewers of PDFs do not work in a sandbox. */
export function isShownSafely(contentType: string): boolean {
  return /^(image\/(png|jpeg|gif|webp|avif|bmp)|audio\/[a-z0-9.+-]+|video\/[a-z0-9.+-]+|text\/plain)$/.test(
    contentType,
  );
}
