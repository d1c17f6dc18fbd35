import { randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListPartsCommand,
  type ListPartsCommandOutput,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { type Backoff, doubledMs } from "../backoff.ts";
import { type Clock, pause } from "../clock.ts";
import type { Secret } from "../secret.ts";
import { writeHashedFile } from "./hashed-file.ts";
import {
  assertAllParts,
  assertKey,
  assertPart,
  type ByteRange,
  type DownloadOptions,
  dispositionOf,
  firstAbsentPart,
  isObjectKey,
  mostParts,
  type ObjectFacts,
  type ObjectStore,
  objectMissing,
  type PartReference,
  partMissing,
  rangeInvalid,
  type StoredPart,
  secondsUntil,
  type Upload,
  uploadMissing,
  type WriteOptions,
} from "./object-store.ts";

export interface S3ObjectStoreOptions {
  /** Null: AWS itself, in `region`. Both the hub and its clients must reach it. */
  endpoint: string | null;
  bucket: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: Secret;
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`. */
  isPathStyle: boolean;
  /** It is created. `write` keeps an object there until all of it has arrived; a crash leaves nothing. */
  temporaryFolder: string;
  clock: Clock;
}

const limits = {
  /** In all, the first one included. */
  attempts: 3,
  connectMs: 5_000,
  responseMs: 30_000,
  /** Making one object of 10,000 parts may take minutes. Source: CompleteMultipartUpload in the Amazon S3 API. */
  completeMs: 120_000,
  /** Without a byte in either direction, also while the reader of a stream pauses. */
  idleMs: 120_000,
  sockets: 128,
};

/** Objects in a bucket of S3, or of a store that speaks its protocol. Parts and downloads do not pass through the hub. */
export async function openS3ObjectStore(options: S3ObjectStoreOptions): Promise<ObjectStore> {
  await mkdir(options.temporaryFolder, { recursive: true, mode: 0o700 });
  return new S3ObjectStore(options);
}

const readBytes = 64 * 1024;
const retryBackoff: Backoff = { firstMs: 200, longestMs: 2_000 };

interface Content {
  contentType: string;
  file: FileHandle;
  bytes: number;
  sha256: Buffer;
  signal: AbortSignal | undefined;
}

class S3ObjectStore implements ObjectStore {
  readonly handle = null;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #temporaryFolder: string;
  readonly #clock: Clock;

  constructor(options: S3ObjectStoreOptions) {
    const { endpoint, region, accessKeyId, secretAccessKey, isPathStyle } = options;
    this.#bucket = options.bucket;
    this.#temporaryFolder = options.temporaryFolder;
    this.#clock = options.clock;
    this.#client = new S3Client({
      ...(endpoint !== null && { endpoint }),
      region,
      credentials: { accessKeyId, secretAccessKey: secretAccessKey.reveal() },
      forcePathStyle: isPathStyle,
      maxAttempts: limits.attempts,
      // Otherwise URLs would be signed with the checksum of an empty body, and some stores refuse the checksums of AWS.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      requestHandler: {
        connectionTimeout: limits.connectMs,
        requestTimeout: limits.responseMs,
        throwOnRequestTimeout: true,
        socketTimeout: limits.idleMs,
        httpAgent: { maxSockets: limits.sockets },
        httpsAgent: { maxSockets: limits.sockets },
      },
    });
  }

  async begin(key: string, { contentType }: { contentType: string }): Promise<Upload> {
    const command = new CreateMultipartUploadCommand({ ...this.#at(key), ContentType: contentType });
    const { UploadId } = await this.#client.send(command);
    return { key, uploadId: UploadId! };
  }

  async partUrl(upload: Upload, part: { number: number; bytes: number }, expiresAt: Date): Promise<string> {
    assertPart(part);
    const command = new UploadPartCommand({
      ...this.#of(upload),
      PartNumber: part.number,
      ContentLength: part.bytes,
    });
    // The length is a signed header, so a body of another length is refused.
    return getSignedUrl(this.#client, command, this.#validUntil(expiresAt));
  }

  async listParts(upload: Upload): Promise<StoredPart[]> {
    const parts: StoredPart[] = [];
    let marker: string | undefined;
    do {
      const page = await this.#listParts(upload, marker);
      for (const { PartNumber, Size, ETag, ChecksumSHA256 } of page.Parts ?? []) {
        const sha256 = ChecksumSHA256 ? Buffer.from(ChecksumSHA256, "base64").toString("hex") : null;
        parts.push({ number: PartNumber!, bytes: Size!, etag: ETag!, sha256 });
      }
      // Some stores give a marker after the last page, too.
      marker = page.IsTruncated ? page.NextPartNumberMarker : undefined;
    } while (marker !== undefined && parts.length < mostParts);
    return parts;
  }

  async #listParts(upload: Upload, marker: string | undefined): Promise<ListPartsCommandOutput> {
    try {
      return await this.#client.send(new ListPartsCommand({ ...this.#of(upload), PartNumberMarker: marker }));
    } catch (error) {
      throw isCalled(error, "NoSuchUpload") ? uploadMissing(error) : error;
    }
  }

  async complete(upload: Upload, parts: readonly PartReference[]): Promise<ObjectFacts> {
    assertAllParts(parts);
    const command = new CompleteMultipartUploadCommand({
      ...this.#of(upload),
      MultipartUpload: { Parts: parts.map(({ number, etag }) => ({ PartNumber: number, ETag: etag })) },
    });
    let failure: unknown;
    try {
      await this.#client.send(command, { requestTimeout: limits.completeMs });
    } catch (error) {
      if (isCalled(error, "InvalidPart", "InvalidPartOrder", "EntityTooSmall")) {
        throw partMissing(firstAbsentPart(parts, await this.listParts(upload)) ?? 1, error);
      }
      // An earlier call may have completed it.
      if (!isCalled(error, "NoSuchUpload")) throw error;
      failure = error;
    }
    const object = await this.stat(upload.key);
    if (object === null) throw uploadMissing(failure);
    return object;
  }

  async abort(upload: Upload): Promise<void> {
    try {
      await this.#client.send(new AbortMultipartUploadCommand(this.#of(upload)));
    } catch (error) {
      if (!isCalled(error, "NoSuchUpload")) throw error;
    }
  }

  async *uploadsBefore(moment: Date): AsyncIterable<Upload> {
    let page: ListMultipartUploadsCommandOutput | undefined;
    do {
      // Without a marker of the upload, which some stores refuse, a page begins with the next key.
      const command = { Bucket: this.#bucket, KeyMarker: page?.NextKeyMarker };
      page = await this.#client.send(new ListMultipartUploadsCommand(command));
      for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
        // The bucket may have uploads of other programs, too.
        const isOurs = Key !== undefined && UploadId !== undefined && isObjectKey(Key);
        if (isOurs && Initiated! < moment) yield { key: Key, uploadId: UploadId };
      }
    } while (page.IsTruncated && page.Uploads?.length);
  }

  /**
   * S3 must know the length of an object first, and takes parts of 5 MiB or more. A temporary file keeps them out of
   * memory, and nothing is sent before the source has ended well.
   */
  async write(key: string, { contentType, source, maxBytes, signal, onReceived }: WriteOptions) {
    const path = join(this.#temporaryFolder, randomUUID());
    let file: FileHandle | null = null;
    try {
      assertKey(key);
      file = await open(path, "wx+", 0o600);
      // Without a name, the file is gone when the process ends.
      await rm(path);
      const { bytes, sha256 } = await writeHashedFile({ file, source, maxBytes, signal });
      const written = { bytes, sha256: sha256.toString("hex") };
      await onReceived?.(written);
      await this.#put(key, { contentType, file, bytes, sha256, signal });
      return written;
    } finally {
      source.destroy();
      await file?.close();
    }
  }

  async read(key: string, range?: ByteRange): Promise<Readable> {
    const Range = range && `bytes=${range.start}-${range.end ?? ""}`;
    try {
      const { Body } = await this.#client.send(new GetObjectCommand({ ...this.#at(key), Range }));
      return Body as Readable;
    } catch (error) {
      if (isCalled(error, "NoSuchKey")) throw objectMissing(error);
      if (isCalled(error, "InvalidRange")) throw rangeInvalid(error);
      throw error;
    }
  }

  async stat(key: string): Promise<ObjectFacts | null> {
    try {
      const head = await this.#client.send(new HeadObjectCommand(this.#at(key)));
      return {
        bytes: head.ContentLength!,
        contentType: head.ContentType ?? "application/octet-stream",
        etag: head.ETag!,
        modifiedAt: head.LastModified!,
      };
    } catch (error) {
      if (isCalled(error, "NotFound", "NoSuchKey")) return null;
      throw error;
    }
  }

  async remove(key: string): Promise<void> {
    await this.#client.send(new DeleteObjectCommand(this.#at(key)));
  }

  async downloadUrl(key: string, options: DownloadOptions): Promise<string> {
    const command = new GetObjectCommand({
      ...this.#at(key),
      ResponseContentType: options.contentType,
      ResponseContentDisposition: dispositionOf(options),
      ResponseCacheControl: "private",
    });
    return getSignedUrl(this.#client, command, this.#validUntil(options.expiresAt));
  }

  async check(): Promise<void> {
    await this.#client.send(new HeadBucketCommand({ Bucket: this.#bucket }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy();
  }

  /** The SDK cannot repeat a stream, so each attempt reads the file again. */
  async #put(key: string, { contentType, file, bytes, sha256, signal }: Content): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const body = Readable.from(chunksOf(file), { objectMode: false });
      const command = new PutObjectCommand({
        ...this.#at(key),
        Body: body,
        ContentType: contentType,
        ContentLength: bytes,
        ChecksumSHA256: sha256.toString("base64"),
      });
      try {
        // A large body takes its time; `idleMs` bounds the request.
        await this.#client.send(command, { abortSignal: signal, requestTimeout: 0 });
        return;
      } catch (error) {
        const isFinal = error instanceof S3ServiceException && error.$fault === "client";
        if (isFinal || signal?.aborted || attempt === limits.attempts) throw error;
        await pause(this.#clock, doubledMs(retryBackoff, attempt), signal);
      } finally {
        body.destroy();
      }
    }
  }

  #at(key: string) {
    assertKey(key);
    return { Bucket: this.#bucket, Key: key };
  }

  #of({ key, uploadId }: Upload) {
    return { ...this.#at(key), UploadId: uploadId };
  }

  #validUntil(expiresAt: Date) {
    const nowMs = this.#clock.now();
    return { signingDate: new Date(nowMs), expiresIn: secondsUntil(expiresAt, nowMs) };
  }
}

/** A stream of the file itself would close it. */
async function* chunksOf(file: FileHandle): AsyncIterable<Buffer> {
  for (let position = 0; ; ) {
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(readBytes), 0, readBytes, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

function isCalled(error: unknown, ...names: string[]): boolean {
  return error instanceof S3ServiceException && names.includes(error.name);
}
