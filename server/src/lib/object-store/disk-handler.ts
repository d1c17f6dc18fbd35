import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import fresh from "fresh";
import { parse } from "range-parser";
import type { Clock } from "../clock.ts";
import type { Log } from "../postgres.ts";
import { type DiskFolders, factsOf } from "./disk-folders.ts";
import { isObjectKey, type ObjectFacts, ObjectStoreError } from "./object-store.ts";
import type { UrlSigner } from "./signed-url.ts";

interface HandlerOptions {
  folders: DiskFolders;
  signer: UrlSigner;
  clock: Clock;
  log: Log;
}

/** How long a client may go on sending the body of a refused request: cut at once, it might lose the response. */
const lingerMs = 2_000;
const retryAfterSeconds = 60;

/**
 * Serves the signed URLs of the engine on disk: `PUT` stores a part, `GET` and `HEAD` read an object. The path may have
 * any prefix. Every error is a small JSON body; a refused request stores nothing.
 */
export function openDiskHandler({ folders, signer, clock, log }: HandlerOptions) {
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    for (const [name, value] of Object.entries(securityHeaders)) response.setHeader(name, value);
    try {
      const { key, query } = locate(request.url ?? "");
      // A URL for GET is good for HEAD, which returns less.
      const method = request.method === "HEAD" ? "GET" : (request.method ?? "");
      const parameters = key && signer.verify({ method, key, query, nowMs: clock.now() });
      if (!key || !parameters) {
        throw new Refusal(
          403,
          "FORBIDDEN",
          "This URL was changed, has expired, or is for another method: get a new one.",
        );
      }
      if (method === "PUT") await storePart(folders, key, parameters, request, response);
      else await sendObject(folders, key, parameters, request, response);
    } catch (error) {
      if (!isDisconnect(error)) return refuse(request, response, refusalFor(error, log));
      response.destroy();
    }
  };
}

const securityHeaders = {
  "x-content-type-options": "nosniff",
  // Shown as a page of its own, a file runs no script and loads nothing but itself.
  "content-security-policy": "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox",
  "referrer-policy": "no-referrer",
};

class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Record<string, string>;

  constructor(status: number, code: string, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

function locate(target: string): { key: string | null; query: URLSearchParams } {
  const [path = "", ...query] = target.split("?");
  const key = path.split("/").slice(-2).join("/");
  return { key: isObjectKey(key) ? key : null, query: new URLSearchParams(query.join("?")) };
}

async function storePart(
  folders: DiskFolders,
  key: string,
  parameters: Map<string, string>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const bytes = Number(parameters.get("bytes"));
  if (Number(request.headers["content-length"]) !== bytes) {
    throw new Refusal(403, "FORBIDDEN", `This URL is for a body of ${bytes} bytes, with a content-length.`);
  }
  const upload = { key, uploadId: parameters.get("upload")! };
  const content = { source: request, leastBytes: bytes, maxBytes: bytes, freesChunks: true };
  const part = await folders.storePart(upload, Number(parameters.get("part")), content);
  response.writeHead(200, { etag: part.etag, "content-length": 0 }).end();
}

async function sendObject(
  folders: DiskFolders,
  key: string,
  parameters: Map<string, string>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const manifest = await folders.readManifest(key);
  if (manifest === null) throw new Refusal(404, "RESOURCE_NOT_FOUND", "This file was deleted.");
  const facts = factsOf(manifest);
  const about = {
    etag: facts.etag,
    "last-modified": facts.modifiedAt.toUTCString(),
    "accept-ranges": "bytes",
    "cache-control": "private",
  };
  if (fresh(request.headers, about)) return void response.writeHead(304, about).end();
  const range = rangeOf(request, facts);
  if (range === "unsatisfiable") {
    return void response.writeHead(416, { "content-range": `bytes */${facts.bytes}`, "content-length": 0 }).end();
  }
  const { start, end } = range ?? { start: 0, end: facts.bytes - 1 };
  response.writeHead(range === null ? 200 : 206, {
    ...about,
    "content-type": parameters.get("type")!,
    "content-disposition": parameters.get("disposition")!,
    "content-length": end - start + 1,
    ...(range && { "content-range": `bytes ${start}-${end}/${facts.bytes}` }),
  });
  if (request.method === "HEAD") return void response.end();
  await folders.sendObject(key, manifest, { start, end }, response);
}

/** Null: the whole object. That also is the response to several ranges, which RFC 9110 (14.2) leaves to the server. */
function rangeOf(
  { method, headers }: IncomingMessage,
  { bytes, etag, modifiedAt }: ObjectFacts,
): { start: number; end: number } | "unsatisfiable" | null {
  if (method !== "GET" || headers.range === undefined) return null;
  const condition = headers["if-range"];
  if (typeof condition === "string" && condition !== etag && condition !== modifiedAt.toUTCString()) return null;
  const { type, code, ranges } = parse(bytes, headers.range);
  if (type !== "bytes" || (code & 1) !== 0) return null;
  if (ranges.length === 0 && code !== 0) return "unsatisfiable";
  return ranges.length === 1 ? ranges[0]! : null;
}

function refusalFor(error: unknown, log: Log): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof ObjectStoreError && error.code === "upload_missing") {
    return new Refusal(404, "RESOURCE_NOT_FOUND", "This upload was completed or aborted.");
  }
  log.error({ err: error }, "a file could not be stored or read");
  if (["ENOSPC", "EDQUOT"].includes((error as NodeJS.ErrnoException).code ?? "")) {
    const headers = { "retry-after": String(retryAfterSeconds) };
    return new Refusal(503, "OVERLOADED", "There is no space for files now: try again later.", headers);
  }
  return new Refusal(500, "INTERNAL", "Internal error. Give the operator this request id.");
}

function isDisconnect(error: unknown): boolean {
  const codes = ["ECONNRESET", "EPIPE", "ECANCELED", "ERR_STREAM_PREMATURE_CLOSE", "ERR_STREAM_UNABLE_TO_PIPE"];
  return codes.includes((error as NodeJS.ErrnoException).code ?? "");
}

function refuse(request: IncomingMessage, response: ServerResponse, { status, code, message, headers }: Refusal): void {
  // Part of an object was sent already.
  if (response.headersSent) return void response.destroy();
  const body = JSON.stringify({
    success: false,
    error: { code, message, details: {}, request_id: randomUUID() },
  });
  response.writeHead(status, {
    ...headers,
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
  });
  // What remains of the body is read and dropped, but not forever.
  response.end(request.method === "HEAD" ? undefined : body);
  request.resume();
  if (!request.complete) setTimeout(() => void (request.complete || request.socket.destroy()), lingerMs).unref();
}
