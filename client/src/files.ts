import type * as api from "../../contract/openapi.ts";
import { bodyOf, type Call, type PageQuery, page } from "./call.ts";
import { pause } from "./pause.ts";

/** What is read of a file, a part at a time: a `Blob`, a `File`, or your own source of bytes. */
export interface FileSource {
  readonly name?: string;
  /** Bytes. */
  readonly size: number;
  /** `end` is not included. Called again for the same bytes, it returns the same. */
  slice(start: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> };
}

export interface UploadOptions {
  /** Default: the name of a `File`. */
  filename?: string;
  conversation_id?: string;
  /** Of an upload that was interrupted: only what is missing is sent. */
  fileId?: string;
  /** Parts at a time. Default: 4. */
  concurrency?: number;
  signal?: AbortSignal;
  /** Of bytes that are stored. */
  onProgress?: (stored: number) => void;
}

export type FormOptions = Pick<UploadOptions, "filename" | "conversation_id" | "signal"> & {
  /** The SHA-256 of the file, in hexadecimal digits. */
  checksum?: string;
};

/** Of one that was just started, too: none of its parts is stored. */
type ResumedUpload = Pick<api.UploadParts, "file_id" | "part_size"> & {
  parts: Pick<api.UploadParts["parts"][number], "part_number" | "size" | "url">[];
};

const triesPerPart = 5;

export function fileCalls(call: Call, fetch: typeof globalThis.fetch) {
  const path = "/v1/files";
  const files = {
    initiate: (body: api.NewUpload) => bodyOf<api.Upload>(call, "POST", `${path}/initiate`, { body }),
    /** Which parts are stored, and new URLs for the others. */
    parts: (id: string) => bodyOf<api.UploadParts>(call, "GET", `${path}/${id}/parts`),
    complete: (body: api.UploadEnd) => bodyOf<api.File>(call, "POST", `${path}/complete`, { body }),
    /** The caller's own, newest first. */
    list: (query?: PageQuery) => page<api.File>(call, path, query),
    get: (id: string) => bodyOf<api.File>(call, "GET", `${path}/${id}`),
    /** A URL that needs no credential, for an hour. */
    download: (id: string) => bodyOf<api.FileLink>(call, "GET", `${path}/${id}/download`),
    /** A URL of its thumbnail that needs no credential, for an hour. */
    thumbnail: (id: string) => bodyOf<api.FileLink>(call, "GET", `${path}/${id}/thumbnail`),
    /** For small files: after an interruption all of it is sent again. */
    uploadInOneRequest(file: Blob, options: FormOptions = {}): Promise<api.File> {
      const { filename = nameOf(file as FileSource), signal, ...fields } = options;
      const body = new FormData();
      for (const [name, value] of Object.entries(fields)) if (value !== undefined) body.set(name, value);
      body.set("file", file, filename);
      return bodyOf<api.File>(call, "POST", path, { body, ...(signal && { signal }) });
    },
    remove: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}`),
    /**
     * Sends a file in parts, several at a time, each again if it fails, and completes it. After an error call it again with
     * `fileId`, also from another process or machine.
     */
    async upload(file: FileSource, options: UploadOptions = {}): Promise<api.File> {
      const { conversation_id, concurrency = 4, signal, onProgress } = options;
      const { filename = nameOf(file) } = options;
      const started = { filename, size: file.size, ...(conversation_id && { conversation_id }) };
      const { fileId } = options;
      const upload: ResumedUpload = await (fileId === undefined ? files.initiate(started) : files.parts(fileId));
      const { file_id, parts, part_size } = upload;
      const left = parts.filter((part) => part.url !== null);
      let stored = file.size - left.reduce((sum, part) => sum + part.size, 0);
      onProgress?.(stored);
      const hashes = new Array<Uint8Array>(parts.length);
      const bytesOf = ({ part_number, size }: (typeof parts)[number]) =>
        file.slice((part_number - 1) * part_size, (part_number - 1) * part_size + size);
      const queue = [...parts];
      async function work(): Promise<void> {
        for (let part = queue.shift(); part !== undefined; part = queue.shift()) {
          signal?.throwIfAborted();
          const bytes = await bytesOf(part).arrayBuffer();
          hashes[part.part_number - 1] = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
          if (part.url === null) continue;
          await put(file_id, part.part_number, part.url, bytes, signal);
          stored += part.size;
          onProgress?.(stored);
        }
      }
      await Promise.all(Array.from({ length: Math.min(concurrency, parts.length) }, work));
      const joined = new Uint8Array(hashes.length * 32);
      for (const [index, hash] of hashes.entries()) joined.set(hash, index * 32);
      const all = await crypto.subtle.digest("SHA-256", joined);
      return files.complete({ file_id, checksum: `${hex(new Uint8Array(all))}-${parts.length}` });
    },
  };

  async function put(
    file_id: string,
    number: number,
    firstUrl: string,
    body: ArrayBuffer,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    let url = firstUrl;
    for (let tries = 1; ; tries += 1) {
      const answer = await fetch(url, { method: "PUT", body, ...(signal && { signal }) }).catch((error: unknown) => {
        if (signal?.aborted || tries >= triesPerPart) throw error;
        return null;
      });
      await answer?.body?.cancel();
      if (answer?.ok) return;
      if (tries >= triesPerPart) throw new Error(`Part ${number} was refused with ${answer?.status}.`);
      await pause(200 * 2 ** tries, signal);
      // The URL may have expired.
      if (answer !== null) url = (await files.parts(file_id)).parts[number - 1]!.url ?? url;
    }
  }

  return files;
}

function nameOf({ name = "file" }: { name?: string }): string {
  return name;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
