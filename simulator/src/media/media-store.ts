import { createHash, randomUUID } from "node:crypto";
import fs from "node:fs";
import { open } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

/** The oldest files are deleted first when there are more. */
export const storeLimits = { maxBytes: 1 << 30, maxFiles: 10_000 };

/** Files that are written at once. */
const maxWrites = 32;

const headBytes = 64;
const privateMode = 0o600;
const privateFolderMode = 0o700;

/** A file on disk that does not belong to a platform yet. */
export interface Upload {
  /** Its name in the folder. */
  readonly file: string;
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** The first 64 bytes. */
  readonly head: Buffer;
}

/** A file that a platform keeps, under the id that the platform gave it. Plain JSON, so that it can be journaled. */
export interface Media {
  readonly id: string;
  readonly channel: string;
  readonly account: string;
  readonly file: string;
  /** The platform's word: `image`, `photo`, `voice` … */
  readonly kind: string;
  readonly mime_type: string;
  readonly filename: string | null;
  readonly bytes: number;
  readonly sha256: string;
  /** Whether a person sent it; otherwise the business uploaded it. */
  readonly isInbound: boolean;
  /** Unix milliseconds when the platform forgets the id; `null`: never. */
  readonly expiresAt: number | null;
}

/** Too many files are being written. */
export class StoreBusy extends Error {
  override readonly name = "StoreBusy";
}

interface StoreParts {
  /** Kept when the process ends. `undefined`: a temporary folder, made at the first file and deleted by `close`. */
  folder: string | undefined;
  now: () => number;
  onKept: (media: Media) => void;
  limits: { maxBytes: number; maxFiles: number };
}

/** The bytes of all media, on disk and never in memory. */
export class MediaStore {
  readonly #parts: StoreParts;
  #folder: string | undefined;
  readonly #media = new Map<string, Media>();
  readonly #loose = new Set<string>();
  #bytes = 0;
  #writes = 0;

  constructor(parts: StoreParts) {
    this.#parts = parts;
  }

  /**
   * Writes at most `maxBytes` + 1 bytes: a longer source is not read to its end, and the upload has `maxBytes` + 1 bytes.
   * Pass the upload to `keep`, or to `discard`. Throws `StoreBusy`, or what the source throws.
   */
  async write(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, maxBytes: number): Promise<Upload> {
    if (this.#writes >= maxWrites) throw new StoreBusy(`${maxWrites} files are being written`);
    this.#writes += 1;
    const file = randomUUID();
    this.#loose.add(file);
    try {
      return await this.#copy(source, maxBytes, file);
    } catch (error) {
      this.#delete(file);
      throw error;
    } finally {
      this.#writes -= 1;
    }
  }

  /** Deletes uploads that were not kept. Safe to call twice. */
  discard(uploads: Iterable<Upload>): void {
    for (const { file } of uploads) if (this.#loose.has(file)) this.#delete(file);
  }

  /** Gives the upload to a platform. An id that exists is replaced. */
  keep(upload: Upload, about: Omit<Media, "file" | "bytes" | "sha256">): Media {
    const { file, bytes, sha256 } = upload;
    const media = { ...about, file, bytes, sha256 };
    this.#loose.delete(file);
    this.#parts.onKept(media);
    this.#add(media);
    return media;
  }

  /** Media that the platform still knows. */
  find(channel: string, id: string): Media | undefined {
    const media = this.#media.get(id);
    if (media?.channel !== channel) return undefined;
    return media.expiresAt === null || this.#parts.now() < media.expiresAt ? media : undefined;
  }

  /** Also media that its platform has forgotten or deleted. */
  findAny(id: string): Media | undefined {
    return this.#media.get(id);
  }

  /** Makes the platform forget the id. The bytes stay for `findAny`. */
  expire(media: Media): void {
    const expired = { ...media, expiresAt: this.#parts.now() };
    this.#parts.onKept(expired);
    this.#media.set(media.id, expired);
  }

  list(): Iterable<Media> {
    return this.#media.values();
  }

  pathOf({ file }: { file: string }): string {
    return path.join(this.#openFolder(), file);
  }

  /** Media of an earlier run, unless its file is gone. */
  restore(media: Media): void {
    if (fs.statSync(this.pathOf(media), { throwIfNoEntry: false })?.size === media.bytes) this.#add(media);
  }

  /** Call after the last `restore`: deletes the files of an earlier run that no media has. */
  deleteUnknownFiles(): void {
    if (this.#parts.folder === undefined || !fs.existsSync(this.#parts.folder)) return;
    const known = new Set([...this.#media.values()].map(({ file }) => file));
    for (const file of fs.readdirSync(this.#parts.folder)) if (isOurs(file) && !known.has(file)) this.#delete(file);
  }

  clear(): void {
    for (const { file } of this.#media.values()) this.#delete(file);
    this.#media.clear();
    this.#bytes = 0;
  }

  close(): void {
    const isTemporary = this.#parts.folder === undefined;
    if (isTemporary && this.#folder !== undefined) fs.rmSync(this.#folder, { recursive: true, force: true });
  }

  async #copy(
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    maxBytes: number,
    file: string,
  ): Promise<Upload> {
    const hash = createHash("sha256");
    let bytes = 0;
    let head: Buffer = Buffer.alloc(0);
    await using handle = await open(this.pathOf({ file }), "wx", privateMode);
    for await (const read of source) {
      const chunk = read.subarray(0, maxBytes + 1 - bytes);
      if (head.length < headBytes) head = Buffer.concat([head, chunk.subarray(0, headBytes - head.length)]);
      hash.update(chunk);
      await handle.writeFile(chunk);
      bytes += chunk.length;
      if (bytes > maxBytes) break;
    }
    return { file, bytes, sha256: hash.digest("hex"), head };
  }

  #add(media: Media): void {
    const known = this.#media.get(media.id);
    if (known) this.#forget(known, media.file);
    this.#media.set(media.id, media);
    this.#bytes += media.bytes;
    const { maxBytes, maxFiles } = this.#parts.limits;
    for (const oldest of this.#media.values()) {
      if (this.#bytes <= maxBytes && this.#media.size <= maxFiles) return;
      this.#forget(oldest, media.file);
    }
  }

  #forget(media: Media, fileInUse: string): void {
    this.#media.delete(media.id);
    this.#bytes -= media.bytes;
    if (media.file !== fileInUse) this.#delete(media.file);
  }

  #delete(file: string): void {
    this.#loose.delete(file);
    fs.rmSync(this.pathOf({ file }), { force: true });
  }

  #openFolder(): string {
    if (this.#folder !== undefined) return this.#folder;
    const { folder } = this.#parts;
    if (folder === undefined) this.#folder = fs.mkdtempSync(path.join(os.tmpdir(), "chat4all-simulator-"));
    else fs.mkdirSync(folder, { recursive: true, mode: privateFolderMode });
    this.#folder ??= folder as string;
    return this.#folder;
  }
}

/** Files of other programs in the folder are left alone. */
function isOurs(file: string): boolean {
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(file);
}
