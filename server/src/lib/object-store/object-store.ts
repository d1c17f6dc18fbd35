import type { IncomingMessage, ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { create } from "content-disposition";

/**
 * Stores objects: bytes under a key. Large ones are uploaded in parts by clients, who need only URLs; the hub itself
 * writes small ones. Two engines, a folder and S3, promise the same and pass one suite. A stored object or part is on
 * durable storage.
 *
 * Keys are given once: an object is not changed after it was stored. Writing to a key again replaces the whole object.
 */
export interface ObjectStore extends AsyncDisposable {
  /** Starts an upload in parts. It takes no part in `stat` and `read` until it is completed. */
  begin(key: string, options: { contentType: string }): Promise<Upload>;
  /**
   * For one `PUT` of exactly `bytes` bytes, without any other credential; the response has the part's `etag`. A part may
   * be sent again, also at the same time: the last one that arrived whole is stored. All parts except the last must have
   * at least `leastPartBytes`. An empty object is one part of 0 bytes.
   */
  partUrl(upload: Upload, part: { number: number; bytes: number }, expiresAt: Date): Promise<string>;
  /** What is stored of it, by number. Throws `upload_missing` when it was aborted or completed, or never existed. */
  listParts(upload: Upload): Promise<StoredPart[]>;
  /**
   * Makes the object of all parts, numbered from 1 without a gap, without copying them. Safe to call again; of calls at
   * the same time, some stores let only one succeed. Throws `part_missing` when a part is not stored with that `etag`, or
   * is too short, and `upload_missing`.
   */
  complete(upload: Upload, parts: readonly PartReference[]): Promise<ObjectFacts>;
  /** Deletes the parts. Safe to call again; a completed upload stays as it is. */
  abort(upload: Upload): Promise<void>;
  /** Uploads that started before a moment and were neither completed nor aborted; also writes that a crash interrupted. */
  uploadsBefore(moment: Date): AsyncIterable<Upload>;

  /**
   * Stores what it reads from `source`, with backpressure. Throws `too_large` when there is more than `maxBytes`; after
   * that or any other error nothing of it is stored.
   */
  write(key: string, options: WriteOptions): Promise<WrittenObject>;
  /** Throws `object_missing`, and `range_invalid` when no byte is in the range. Destroy the stream to stop. */
  read(key: string, range?: ByteRange): Promise<Readable>;
  stat(key: string): Promise<ObjectFacts | null>;
  /** Safe to call again. */
  remove(key: string): Promise<void>;
  /** For `GET`, also of ranges. The response has the given type, and `content-disposition` with the sanitised name. */
  downloadUrl(key: string, options: DownloadOptions): Promise<string>;

  /** Throws when objects cannot be read or written now. */
  check(): Promise<void>;
  /** Serves the signed URLs of this store; null when they lead to another server. Never rejects. */
  readonly handle: ((request: IncomingMessage, response: ServerResponse) => Promise<void>) | null;
}

export interface Upload {
  key: string;
  /** Opaque, up to 1,024 characters. */
  uploadId: string;
}

export interface PartReference {
  /** From 1 to `mostParts`. */
  number: number;
  etag: string;
}

export interface StoredPart extends PartReference {
  bytes: number;
  /** In hexadecimal digits; null when the store does not know it. */
  sha256: string | null;
}

export interface ObjectFacts {
  bytes: number;
  contentType: string;
  /** With its quotes. It changes with the content. */
  etag: string;
  modifiedAt: Date;
}

export interface WriteOptions {
  contentType: string;
  /** Of bytes. It is destroyed at the end, after an error too. */
  source: Readable;
  maxBytes: number;
  signal?: AbortSignal;
  /** Awaited when all has arrived, before there is an object. Nothing is stored when it rejects. */
  onReceived?: (received: WrittenObject) => Promise<void>;
}

export interface WrittenObject {
  bytes: number;
  /** In hexadecimal digits. */
  sha256: string;
}

/** Both ends are included. Without `end` to the end of the object. */
export interface ByteRange {
  start: number;
  end?: number;
}

export interface DownloadOptions {
  filename: string;
  contentType: string;
  disposition: "inline" | "attachment";
  expiresAt: Date;
}

export type ObjectStoreErrorCode =
  | "object_missing"
  | "upload_missing"
  | "part_missing"
  | "range_invalid"
  | "too_large"
  | "incomplete";

export class ObjectStoreError extends Error {
  override readonly name = "ObjectStoreError";
  readonly code: ObjectStoreErrorCode;

  constructor(code: ObjectStoreErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** Both are limits of S3. Source: "Amazon S3 multipart upload limits". */
export const leastPartBytes = 5 * 1024 * 1024;
export const mostParts = 10_000;
/** The longest time that a URL is valid. Source: the limit of signature version 4 of AWS. */
export const longestUrlSeconds = 7 * 24 * 60 * 60;

const keyPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Keys are `<workspace uuid>/<file uuid>` in lower case, so nothing that a user chose is ever part of a path. */
export function isObjectKey(key: string): boolean {
  return keyPattern.test(key);
}

/** Throws a `TypeError`: a wrong key is a bug. */
export function assertKey(key: string): void {
  if (!isObjectKey(key)) throw new TypeError("The key of an object has the form <workspace uuid>/<file uuid>.");
}

/** Throws a `RangeError`, because such a part is a bug. */
export function assertPart({ number, bytes }: { number: number; bytes: number }): void {
  if (!Number.isSafeInteger(number) || number < 1 || number > mostParts) throw new RangeError(`part ${number}`);
  if (!Number.isSafeInteger(bytes) || bytes < 0) throw new RangeError(`a part of ${bytes} bytes`);
}

/** Throws `part_missing` unless the numbers are 1, 2, 3 … */
export function assertAllParts(parts: readonly PartReference[]): void {
  const gap = parts.findIndex(({ number }, index) => number !== index + 1);
  if (parts.length === 0 || gap !== -1) throw partMissing(gap === -1 ? 1 : gap + 1);
}

/** The number of the first part that is not stored with this etag, or is too short; null when all are there. */
export function firstAbsentPart(wanted: readonly PartReference[], stored: readonly StoredPart[]): number | null {
  const absent = wanted.find(({ number, etag }, index) => {
    const part = stored[index];
    const isTooShort = index < wanted.length - 1 && (part?.bytes ?? 0) < leastPartBytes;
    return part?.number !== number || unquoted(part.etag) !== unquoted(etag) || isTooShort;
  });
  return absent?.number ?? null;
}

const unquoted = (etag: string) => etag.replaceAll('"', "");

/** From now, in whole seconds. Throws a `RangeError` when that is longer than `longestUrlSeconds`. */
export function secondsUntil(expiresAt: Date, nowMs: number): number {
  const seconds = Math.ceil((expiresAt.getTime() - nowMs) / 1000);
  if (!(seconds <= longestUrlSeconds)) throw new RangeError(`A URL is valid for at most ${longestUrlSeconds} s.`);
  return Math.max(seconds, 1);
}

/** The value of `content-disposition` (RFC 6266). Of a path, only the last part is used. */
export function dispositionOf({ filename, disposition }: Pick<DownloadOptions, "filename" | "disposition">): string {
  return create(safeName(filename), { type: disposition });
}

const controls = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]+/gu;
const longestNameBytes = 200;

function safeName(filename: string): string {
  const last = filename.toWellFormed().replaceAll(controls, " ").split(/[/\\]/).at(-1)!.trim();
  const name = /^\.*$/.test(last) ? "file" : last;
  if (Buffer.byteLength(name) <= longestNameBytes) return name;
  const extension = /\.[A-Za-z0-9]{1,16}$/.exec(name)?.[0] ?? "";
  const kept = Buffer.from(name).subarray(0, longestNameBytes - extension.length);
  return new TextDecoder().decode(kept, { stream: true }) + extension;
}

export const objectMissing = (cause?: unknown) =>
  new ObjectStoreError("object_missing", "There is no such object.", cause);
export const uploadMissing = (cause?: unknown) =>
  new ObjectStoreError("upload_missing", "There is no such upload: it was completed or aborted.", cause);
export const partMissing = (number: number, cause?: unknown) =>
  new ObjectStoreError("part_missing", `Part ${number} is not stored with this etag, or is too short.`, cause);
export const rangeInvalid = (cause?: unknown) =>
  new ObjectStoreError("range_invalid", "No byte of the object is in this range.", cause);
export const tooLarge = (maxBytes: number) =>
  new ObjectStoreError("too_large", `There are more than ${maxBytes} bytes.`);
