import { createRequire } from "node:module";
import { isIP } from "node:net";
import type { Agent as AgentClass, Dispatcher, errors as Errors } from "undici";
import { isPrivateAddress } from "./public-addresses.ts";
import { publicLookup, type Resolve, systemResolve } from "./resolve.ts";

// The entrance of undici also loads fetch, caches, mocks and more: 13 MiB that the hub does not use.
const require = createRequire(import.meta.url);
const Agent: typeof AgentClass = require("undici/lib/dispatcher/agent.js");
const errors: typeof Errors = require("undici/lib/core/errors.js");
const request: Dispatcher["request"] = require("undici/lib/api/api-request.js");

/** Outbound HTTP as a value. Redirects are never followed, proxies of the environment are not used. */
export type HttpClient = (call: HttpCall) => Promise<HttpAnswer>;

export interface HttpCall {
  method: string;
  url: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
  timeoutMs: number;
  signal?: AbortSignal;
}

export interface HttpAnswer {
  status: number;
  /** Lower-case names; the first value of a repeated one. */
  headers: Record<string, string | undefined>;
  body: string;
}

/** No usable response. `mayHaveArrived` is false only when nothing can have reached the other side. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly mayHaveArrived: boolean;

  constructor(message: string, mayHaveArrived: boolean, cause: unknown) {
    super(message, { cause });
    this.mayHaveArrived = mayHaveArrived;
  }
}

interface HttpClientOptions {
  connectionsPerHost: number;
  /** Whether private, loopback and link-local IP addresses may be reached; checked on the one that is dialled. */
  allowPrivate: boolean;
  allowedOrigins?: readonly string[];
  isHttpsOnly?: boolean;
  resolve?: Resolve;
  /** For responses of which only the beginning counts. Without it, one longer than `maxAnswerBytes` is an error. */
  cut?: AnswerCut;
}

interface AnswerCut {
  /** Then the connection is closed. */
  readBytes: number;
  keptBytes: number;
}

export const maxAnswerBytes = 1024 * 1024;
const connectTimeoutMs = 5_000;
const restMs = 30_000;

const neverSent = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
  "EPRIVATE",
]);

export function openHttpClient(options: HttpClientOptions): { http: HttpClient; close: () => Promise<void> } {
  const shared = {
    connections: options.connectionsPerHost,
    pipelining: 1,
    // With HTTP/2 a connection would carry many requests, and none of the bounds here would count them.
    allowH2: false,
    keepAliveTimeout: restMs,
    keepAliveMaxTimeout: restMs,
    maxResponseSize: options.cut === undefined ? maxAnswerBytes : -1,
  };
  const lookup = publicLookup(options.resolve ?? systemResolve);
  const open = new Agent({ ...shared, connect: { timeout: connectTimeoutMs } });
  const guarded = new Agent({ ...shared, connect: { timeout: connectTimeoutMs, lookup } });
  const http: HttpClient = async (call) => {
    const url = new URL(call.url);
    const isAllowed = options.allowedOrigins?.includes(url.origin) === true;
    if (options.isHttpsOnly && !isAllowed && url.protocol !== "https:") {
      throw new HttpError(`${url.origin} is not https`, false, null);
    }
    const isOpen = options.allowPrivate || isAllowed;
    const host = url.hostname.replace(/^\[|\]$/g, "");
    if (!isOpen && isIP(host) !== 0 && isPrivateAddress(host)) {
      throw new HttpError(`${url.host} is a private IP address`, false, null);
    }
    const timeout = AbortSignal.timeout(call.timeoutMs);
    try {
      const answer = await request.call(isOpen ? open : guarded, {
        origin: url.origin,
        path: url.pathname + url.search,
        method: call.method as "GET",
        headers: call.headers ?? {},
        body: call.body ?? null,
        // Of the whole exchange; undici's own bounds are each between two bytes.
        signal: call.signal === undefined ? timeout : AbortSignal.any([timeout, call.signal]),
        headersTimeout: 0,
        bodyTimeout: 0,
      });
      const headers: Record<string, string | undefined> = {};
      for (const [name, value] of Object.entries(answer.headers))
        headers[name] = Array.isArray(value) ? value[0] : value;
      return { status: answer.statusCode, headers, body: await readBody(answer, options.cut) };
    } catch (error) {
      throw toHttpError(error);
    }
  };
  return { http, close: async () => void (await Promise.all([open.destroy(), guarded.destroy()])) };
}

async function readBody({ body }: Pick<Dispatcher.ResponseData, "body">, cut: AnswerCut | undefined): Promise<string> {
  if (cut === undefined) return body.text();
  const kept: Buffer[] = [];
  let readBytes = 0;
  // Leaving the loop closes the connection.
  for await (const chunk of body as AsyncIterable<Buffer>) {
    if (readBytes < cut.keptBytes) kept.push(chunk.subarray(0, cut.keptBytes - readBytes));
    readBytes += chunk.length;
    if (readBytes >= cut.readBytes) break;
  }
  return Buffer.concat(kept).toString();
}

function toHttpError(error: unknown): HttpError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof errors.InvalidArgumentError) return new HttpError(message, false, error);
  return new HttpError(code && !message.includes(code) ? `${code}: ${message}` : message, !neverSent.has(code), error);
}
