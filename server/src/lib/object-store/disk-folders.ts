import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, opendir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable, type Writable } from "node:stream";
import { type HashedFileOptions, writeHashedFile } from "./hashed-file.ts";
import {
  assertAllParts,
  type ByteRange,
  firstAbsentPart,
  mostParts,
  type ObjectFacts,
  type PartReference,
  partMissing,
  type StoredPart,
  type Upload,
  uploadMissing,
} from "./object-store.ts";
import { type FileRange, readBytes, sendFiles } from "./send-files.ts";

/*
 * The files of the engine on disk. Every step is one rename within a file system, so a crash leaves the state before or
 * after it:
 *
 *   uploads/<upload id>/upload.json           whose upload it is
 *   uploads/<upload id>/parts/<number>        a part: its bytes, then their SHA-256 (32 bytes)
 *   uploads/<upload id>/parts/<uuid>.tmp      a part that is still arriving
 *   uploads/<upload id>/object/               `parts`, while the upload is completed: no part can arrive any more
 *   objects/<workspace>/<file>/<number>       the same files again
 *   objects/<workspace>/<file>/object.json    their sizes, the type and the etag
 *   trash/<uuid>/                             to be deleted
 */

/** `object.json`. */
export interface Manifest {
  uploadId: string;
  contentType: string;
  etag: string;
  modifiedAt: string;
  /** The size of each part, in bytes. */
  parts: number[];
}

type DiskPart = StoredPart & { sha256: string };

interface UploadRecord {
  key: string;
  contentType: string;
  startedAt: string;
}

const trailerBytes = 32;
/** Enough to need space on the disk. */
const triedBytes = 4096;
const idPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export class DiskFolders {
  readonly #root: string;
  readonly #flushes = new SharedFlushes(syncFolder);

  constructor(root: string) {
    this.#root = root;
  }

  /** Creates the folders, and deletes what earlier processes did not finish to delete. */
  async prepare(): Promise<void> {
    for (const name of ["uploads", "objects", "trash"]) {
      await mkdir(join(this.#root, name), { recursive: true, mode: 0o700 });
    }
    await syncFolder(this.#root);
    for (const name of await readdir(this.#inTrash())) {
      await rm(this.#inTrash(name), { recursive: true, force: true });
    }
  }

  /** Writes a file and deletes it. */
  async tryWriting(): Promise<void> {
    const path = this.#inTrash(`${randomUUID()}.tmp`);
    try {
      await writeFile(path, Buffer.alloc(triedBytes), { flag: "wx", mode: 0o600, flush: true });
    } finally {
      await rm(path, { force: true });
    }
  }

  async createUpload(record: UploadRecord): Promise<string> {
    const uploadId = randomUUID();
    const folder = this.#upload(uploadId);
    await mkdir(join(folder, "parts"), { recursive: true, mode: 0o700 });
    await writeJson(folder, "upload.json", record);
    await syncFolder(folder);
    await syncFolder(dirname(folder));
    return uploadId;
  }

  /** Throws `upload_missing`. */
  async readUpload({ key, uploadId }: Upload): Promise<UploadRecord> {
    if (!idPattern.test(uploadId)) throw uploadMissing();
    const record = await readJson<UploadRecord>(join(this.#upload(uploadId), "upload.json"));
    if (record?.key !== key) throw uploadMissing();
    return record;
  }

  async *uploadsBefore(moment: Date): AsyncIterable<Upload> {
    for await (const { name } of await opendir(join(this.#root, "uploads"))) {
      const record = await readJson<UploadRecord>(join(this.#upload(name), "upload.json"));
      if (record !== null) {
        if (new Date(record.startedAt) < moment) yield { key: record.key, uploadId: name };
        continue;
      }
      // A crash while it was created, or it was deleted meanwhile.
      const facts = await orNull(stat(this.#upload(name)));
      if (facts !== null && facts.mtime < moment) await this.#discard(this.#upload(name));
    }
  }

  /** Stores the part once its file and the folder are flushed. Throws `upload_missing`, `too_large` and `incomplete`. */
  async storePart({ uploadId }: Upload, number: number, content: Omit<HashedFileOptions, "file">): Promise<DiskPart> {
    const folder = join(this.#upload(uploadId), "parts");
    const path = join(folder, `${randomUUID()}.tmp`);
    try {
      const { bytes, sha256 } = await this.#writePart(path, content);
      await rename(path, join(folder, String(number)));
      await this.#flushes.flush(folder);
      return describePart(number, bytes, sha256);
    } catch (error) {
      await rm(path, { force: true });
      throw isAbsent(error) ? uploadMissing(error) : error;
    }
  }

  async #writePart(path: string, content: Omit<HashedFileOptions, "file">) {
    const file = await open(path, "wx", 0o600);
    try {
      const written = await writeHashedFile({ ...content, file, withTrailer: true });
      await file.sync();
      return written;
    } finally {
      await file.close();
    }
  }

  /** Throws `upload_missing`. */
  async listParts(upload: Upload): Promise<StoredPart[]> {
    await this.readUpload(upload);
    const folder = this.#upload(upload.uploadId);
    const parts =
      (await orNull(readPartFiles(join(folder, "parts")))) ?? (await orNull(readPartFiles(join(folder, "object"))));
    if (parts === null) throw uploadMissing();
    return parts;
  }

  /** Throws `part_missing` and `upload_missing`. */
  async completeUpload(upload: Upload, parts: readonly PartReference[], modifiedAt: Date): Promise<Manifest> {
    assertAllParts(parts);
    const manifest = (await this.#completed(upload)) ?? (await orNull(this.#complete(upload, parts, modifiedAt)));
    // Null when another call completed or aborted it meanwhile.
    const object = manifest ?? (await this.#completed(upload));
    if (object === null) throw uploadMissing();
    await this.#discard(this.#upload(upload.uploadId));
    return object;
  }

  async #completed({ key, uploadId }: Upload): Promise<Manifest | null> {
    const manifest = await this.readManifest(key);
    return manifest?.uploadId === uploadId ? manifest : null;
  }

  async #complete(upload: Upload, parts: readonly PartReference[], modifiedAt: Date): Promise<Manifest> {
    const { contentType } = await this.readUpload(upload);
    const arriving = join(this.#upload(upload.uploadId), "parts");
    const frozen = join(this.#upload(upload.uploadId), "object");
    // If an earlier attempt has renamed it, it is continued.
    await orNull(rename(arriving, frozen));
    const found = await readPartFiles(frozen);
    const absent = firstAbsentPart(parts, found);
    if (absent !== null) {
      await rename(frozen, arriving);
      throw partMissing(absent);
    }
    const all = found.slice(0, parts.length);
    // Another call may have written the manifest, and put the folder in place next.
    const kept = new Set(["object.json", ...all.map(({ number }) => String(number))]);
    for (const name of await readdir(frozen)) if (!kept.has(name)) await rm(join(frozen, name), { force: true });
    const manifest: Manifest = {
      uploadId: upload.uploadId,
      contentType,
      etag: etagOfParts(all),
      modifiedAt: modifiedAt.toISOString(),
      parts: all.map(({ bytes }) => bytes),
    };
    await writeJson(this.#upload(upload.uploadId), "object/object.json", manifest);
    await syncFolder(frozen);
    await this.#place(frozen, this.#object(upload.key));
    return manifest;
  }

  async #place(folder: string, object: string): Promise<void> {
    await mkdir(dirname(object), { recursive: true, mode: 0o700 });
    await syncFolder(dirname(dirname(object)));
    try {
      await rename(folder, object);
    } catch (error) {
      if (!isTaken(error)) throw error;
      await this.#discard(object);
      await rename(folder, object);
    }
    await syncFolder(dirname(object));
  }

  async deleteUpload({ uploadId }: Upload): Promise<void> {
    if (idPattern.test(uploadId)) await this.#discard(this.#upload(uploadId));
  }

  async deleteObject(key: string): Promise<void> {
    await this.#discard(this.#object(key));
  }

  async readManifest(key: string): Promise<Manifest | null> {
    return readJson<Manifest>(join(this.#object(key), "object.json"));
  }

  /** The stream fails when the object is deleted meanwhile. */
  openObject(key: string, manifest: Manifest, range: Required<ByteRange>): Readable {
    const ranges = this.#rangesOf(key, manifest, range);
    async function* chunks(): AsyncIterable<Buffer> {
      for (const { path, ...range } of ranges) yield* createReadStream(path, { ...range, highWaterMark: readBytes });
    }
    return Readable.from(chunks(), { objectMode: false, highWaterMark: readBytes });
  }

  /** Writes it to `destination`, and ends that. Faster than a stream. */
  async sendObject(key: string, manifest: Manifest, range: Required<ByteRange>, destination: Writable): Promise<void> {
    await sendFiles(this.#rangesOf(key, manifest, range), destination);
  }

  /** What is read of the files of its parts. */
  *#rangesOf(key: string, { parts }: Manifest, { start, end }: Required<ByteRange>): Iterable<FileRange> {
    let partStart = 0;
    for (const [index, bytes] of parts.entries()) {
      const from = Math.max(start - partStart, 0);
      const to = Math.min(end - partStart, bytes - 1);
      partStart += bytes;
      if (from <= to) yield { path: join(this.#object(key), String(index + 1)), start: from, end: to };
    }
  }

  #upload(uploadId: string): string {
    return join(this.#root, "uploads", uploadId);
  }

  #object(key: string): string {
    return join(this.#root, "objects", key);
  }

  #inTrash(name = ""): string {
    return join(this.#root, "trash", name);
  }

  /** At once for everyone else; then deletes it. Does nothing when it does not exist. */
  async #discard(path: string): Promise<void> {
    const trashed = this.#inTrash(randomUUID());
    if ((await orNull(rename(path, trashed).then(() => true))) === null) return;
    await syncFolder(dirname(path));
    await rm(trashed, { recursive: true, force: true });
  }
}

interface Flushing {
  current: Promise<void>;
  next: Promise<void> | null;
}

/**
 * Makes the entries of folders durable, one flush at a time for each: callers that come during one share the next, because
 * parts that arrive together would wait for one another otherwise.
 */
class SharedFlushes {
  readonly #flush: (path: string) => Promise<void>;
  readonly #running = new Map<string, Flushing>();

  constructor(flush: (path: string) => Promise<void>) {
    this.#flush = flush;
  }

  /** Covers what was changed before the call. */
  flush(path: string): Promise<void> {
    const running = this.#running.get(path);
    if (running === undefined) return this.#start(path);
    running.next ??= running.current.catch(() => {}).then(() => this.#start(path));
    return running.next;
  }

  #start(path: string): Promise<void> {
    const flushing: Flushing = { current: this.#flush(path), next: null };
    this.#running.set(path, flushing);
    const end = () => {
      if (flushing.next === null) this.#running.delete(path);
    };
    flushing.current.then(end, end);
    return flushing.current;
  }
}

/** The temporary file is in `folder`: another call may be completing the same object. */
async function writeJson(folder: string, path: string, content: object): Promise<void> {
  const temporary = join(folder, `${randomUUID()}.tmp`);
  await writeFile(temporary, JSON.stringify(content), { flag: "wx", mode: 0o600, flush: true });
  await rename(temporary, join(folder, path));
}

export function factsOf({ parts, contentType, etag, modifiedAt }: Manifest): ObjectFacts {
  const bytes = parts.reduce((sum, part) => sum + part, 0);
  return { bytes, contentType, etag, modifiedAt: new Date(modifiedAt) };
}

async function readPartFiles(folder: string): Promise<StoredPart[]> {
  const numbers = (await readdir(folder)).map(Number).filter(Number.isInteger);
  const parts: StoredPart[] = [];
  for (const number of numbers.toSorted((a, b) => a - b).slice(0, mostParts)) {
    const file = await open(join(folder, String(number)), "r");
    try {
      const bytes = (await file.stat()).size - trailerBytes;
      const { buffer } = await file.read(Buffer.alloc(trailerBytes), 0, trailerBytes, bytes);
      parts.push(describePart(number, bytes, buffer));
    } finally {
      await file.close();
    }
  }
  return parts;
}

function describePart(number: number, bytes: number, sha256: Buffer): DiskPart {
  const digits = sha256.toString("hex");
  return { number, bytes, etag: `"${digits}"`, sha256: digits };
}

function etagOfParts(parts: readonly StoredPart[]): string {
  if (parts.length === 1) return parts[0]!.etag;
  const hash = createHash("sha256");
  for (const { etag } of parts) hash.update(etag);
  return `"${hash.digest("hex")}-${parts.length}"`;
}

async function syncFolder(path: string): Promise<void> {
  // Windows cannot open a folder, and orders its metadata itself.
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function readJson<Content>(path: string): Promise<Content | null> {
  const text = await orNull(readFile(path, "utf8"));
  return text === null ? null : JSON.parse(text);
}

/** Null when the file or folder, or one above it, does not exist. */
async function orNull<Found>(result: Promise<Found>): Promise<Found | null> {
  try {
    return await result;
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

/** Windows says EPERM. */
function isTaken(error: unknown): boolean {
  return ["ENOTEMPTY", "EEXIST", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "");
}

function isAbsent(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "");
}
