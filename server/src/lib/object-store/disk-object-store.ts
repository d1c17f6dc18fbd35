import type { IncomingMessage, ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import type { Clock } from "../clock.ts";
import type { Log } from "../postgres.ts";
import type { Secret } from "../secret.ts";
import { DiskFolders, factsOf } from "./disk-folders.ts";
import { openDiskHandler } from "./disk-handler.ts";
import {
  assertKey,
  assertPart,
  type ByteRange,
  type DownloadOptions,
  dispositionOf,
  type ObjectFacts,
  type ObjectStore,
  objectMissing,
  type PartReference,
  rangeInvalid,
  type StoredPart,
  secondsUntil,
  type Upload,
  type WriteOptions,
} from "./object-store.ts";
import { openUrlSigner, type UrlSigner } from "./signed-url.ts";

export interface DiskObjectStoreOptions {
  /** It is created. Everything in it is on one file system. Several processes may share it. */
  folder: string;
  /** Where clients reach `handle`, without a slash at the end, such as `https://hub.example/objects`. */
  baseUrl: string;
  /** Sign the URLs, newest first; at least one. */
  secrets: readonly Secret[];
  clock: Clock;
  log: Log;
}

/** Objects in a folder, behind signed URLs that the hub itself serves. Throws when the folder cannot be written. */
export async function openDiskObjectStore(options: DiskObjectStoreOptions): Promise<ObjectStore> {
  const folders = new DiskFolders(options.folder);
  await folders.prepare();
  const signer = openUrlSigner(options.baseUrl, options.secrets);
  return new DiskObjectStore(folders, signer, options);
}

class DiskObjectStore implements ObjectStore {
  readonly handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  readonly #folders: DiskFolders;
  readonly #signer: UrlSigner;
  readonly #clock: Clock;

  constructor(folders: DiskFolders, signer: UrlSigner, { clock, log }: { clock: Clock; log: Log }) {
    this.#folders = folders;
    this.#signer = signer;
    this.#clock = clock;
    this.handle = openDiskHandler({ folders, signer, clock, log });
  }

  async begin(key: string, { contentType }: { contentType: string }): Promise<Upload> {
    assertKey(key);
    const startedAt = new Date(this.#clock.now()).toISOString();
    return { key, uploadId: await this.#folders.createUpload({ key, contentType, startedAt }) };
  }

  async partUrl(upload: Upload, part: { number: number; bytes: number }, expiresAt: Date): Promise<string> {
    assertKey(upload.key);
    assertPart(part);
    secondsUntil(expiresAt, this.#clock.now());
    const parameters = { upload: upload.uploadId, part: String(part.number), bytes: String(part.bytes) };
    return this.#signer.sign({ method: "PUT", key: upload.key, parameters, expiresAt });
  }

  listParts(upload: Upload): Promise<StoredPart[]> {
    return this.#folders.listParts(upload);
  }

  async complete(upload: Upload, parts: readonly PartReference[]): Promise<ObjectFacts> {
    assertKey(upload.key);
    return factsOf(await this.#folders.completeUpload(upload, parts, new Date(this.#clock.now())));
  }

  abort(upload: Upload): Promise<void> {
    return this.#folders.deleteUpload(upload);
  }

  uploadsBefore(moment: Date): AsyncIterable<Upload> {
    return this.#folders.uploadsBefore(moment);
  }

  async write(key: string, { contentType, source, maxBytes, signal, onReceived }: WriteOptions) {
    let upload: Upload | null = null;
    try {
      upload = await this.begin(key, { contentType });
      const part = await this.#folders.storePart(upload, 1, { source, leastBytes: 0, maxBytes, signal });
      const { bytes, sha256 } = part;
      await onReceived?.({ bytes, sha256 });
      await this.complete(upload, [part]);
      return { bytes, sha256 };
    } catch (error) {
      if (upload !== null) await this.abort(upload);
      throw error;
    } finally {
      source.destroy();
    }
  }

  async read(key: string, range: ByteRange = { start: 0 }): Promise<Readable> {
    assertKey(key);
    const manifest = await this.#folders.readManifest(key);
    if (manifest === null) throw objectMissing();
    const { bytes } = factsOf(manifest);
    const { start, end = bytes - 1 } = range;
    if (range.start > 0 && (start >= bytes || end < start)) throw rangeInvalid();
    return this.#folders.openObject(key, manifest, { start, end });
  }

  async stat(key: string): Promise<ObjectFacts | null> {
    assertKey(key);
    const manifest = await this.#folders.readManifest(key);
    return manifest && factsOf(manifest);
  }

  async remove(key: string): Promise<void> {
    assertKey(key);
    await this.#folders.deleteObject(key);
  }

  async downloadUrl(key: string, options: DownloadOptions): Promise<string> {
    assertKey(key);
    secondsUntil(options.expiresAt, this.#clock.now());
    const parameters = { type: options.contentType, disposition: dispositionOf(options) };
    return this.#signer.sign({ method: "GET", key, parameters, expiresAt: options.expiresAt });
  }

  check(): Promise<void> {
    return this.#folders.tryWriting();
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
