import { createRequire } from "node:module";
import { isIP } from "node:net";
import type { Readable } from "node:stream";
import type { Agent as AgentClass, Dispatcher } from "undici";
import { isPrivateAddress } from "./public-addresses.ts";
import { publicLookup, type Resolve, systemResolve } from "./resolve.ts";

// The entrance of undici also loads fetch, caches, mocks and more: 13 MiB that the hub does not use.
const require = createRequire(import.meta.url);
const Agent: typeof AgentClass = require("undici/lib/dispatcher/agent.js");
const request: (this: Dispatcher, options: Dispatcher.RequestOptions) => Promise<Dispatcher.ResponseData> =
  require("undici/lib/api/api-request.js");

/** Outbound HTTP as a value. Redirects are never followed, proxies of the environment are not used. */
export type HttpClient = (call: HttpCall) => Promise<HttpAnswer>;

export interface HttpCall {
  method: string;
  url: string;
  headers?: Record<string, string>;
  body?: string | Buffer | StreamedBody;
  timeoutMs: number;
  signal?: AbortSignal;
}

/** Sent as it is read. The headers have its `content-length`. */
export interface StreamedBody {
  readonly stream: Readable;
  /** Whether all of it was handed over: before that the other side cannot have taken the request as complete. */
  isSent(): boolean;
}

/** A `GET` whose response is read as a stream, of any length. Else as `HttpClient`. */
export type HttpReader = (call: Pick<HttpCall, "url" | "headers" | "timeoutMs" | "signal">) => Promise<HttpStream>;

export interface HttpStream {
  status: number;
  headers: HttpAnswer["headers"];
  /** Ends with an error when nothing arrives for `timeoutMs`. Destroy it to stop. */
  body: Readable;
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

export interface OpenHttpClient {
  http: HttpClient;
  read: HttpReader;
  close(): Promise<void>;
}

export function openHttpClient(options: HttpClientOptions): OpenHttpClient {
  const shared = {
    connections: options.connectionsPerHost,
    pipelining: 1,
    // With HTTP/2 a connection would carry many requests, and none of the bounds here would count them.
    allowH2: false,
    keepAliveTimeout: restMs,
    keepAliveMaxTimeout: restMs,
  };
  const lookup = publicLookup(options.resolve ?? systemResolve);
  const openAgents = (maxResponseSize: number) => ({
    open: new Agent({ ...shared, maxResponseSize, connect: { timeout: connectTimeoutMs } }),
    guarded: new Agent({ ...shared, maxResponseSize, connect: { timeout: connectTimeoutMs, lookup } }),
  });
  const agents = openAgents(options.cut === undefined ? maxAnswerBytes : -1);
  let readers: typeof agents | null = null;

  /** Throws when the URL may not be requested. */
  function agentFor(url: URL, { open, guarded }: typeof agents): AgentClass {
    const isAllowed = options.allowedOrigins?.includes(url.origin) === true;
    if (options.isHttpsOnly && !isAllowed && url.protocol !== "https:") {
      throw new HttpError(`${url.origin} is not https`, false, null);
    }
    const isOpen = options.allowPrivate || isAllowed;
    const host = url.hostname.replace(/^\[|\]$/g, "");
    if (!isOpen && isIP(host) !== 0 && isPrivateAddress(host)) {
      throw new HttpError(`${url.host} is a private IP address`, false, null);
    }
    return isOpen ? open : guarded;
  }

  const http: HttpClient = async (call) => {
    using _ = endOfBody(call.body);
    const url = new URL(call.url);
    const agent = agentFor(url, agents);
    return await new Promise((resolve, reject) => {
      const exchange = new Exchange(call, options.cut, resolve, reject);
      agent.dispatch(
        {
          origin: url.origin,
          path: url.pathname + url.search,
          method: call.method,
          headers: call.headers ?? {},
          body: isStreamed(call.body) ? call.body.stream : (call.body ?? null),
          // `Exchange` bounds the whole; undici's own bounds are each between two bytes.
          headersTimeout: 0,
          bodyTimeout: 0,
        },
        exchange,
      );
    });
  };

  const read: HttpReader = async ({ url: text, headers, timeoutMs, signal }) => {
    const url = new URL(text);
    readers ??= openAgents(-1);
    const agent = agentFor(url, readers);
    try {
      const { statusCode, body, ...answer } = await request.call(agent, {
        origin: url.origin,
        path: url.pathname + url.search,
        method: "GET",
        headers: headers ?? {},
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
        ...(signal && { signal }),
      });
      return { status: statusCode, headers: firstValues(answer.headers), body };
    } catch (error) {
      throw new HttpError(messageOf(error as Error), true, error);
    }
  };

  return {
    http,
    read,
    async close() {
      const all = [agents, readers].flatMap((some) => (some === null ? [] : [some.open, some.guarded]));
      await Promise.all(all.map((agent) => agent.destroy()));
    },
  };
}

/** A body that was not read to its end must not keep its file open. */
function endOfBody(body: HttpCall["body"]): DisposableStack {
  const end = new DisposableStack();
  if (isStreamed(body)) end.defer(() => void body.stream.destroy());
  return end;
}

function isStreamed(body: HttpCall["body"]): body is StreamedBody {
  return typeof body === "object" && "stream" in body;
}

function firstValues(headers: Record<string, string | string[] | undefined>): HttpAnswer["headers"] {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]),
  );
}

function messageOf(error: Error): string {
  const code = "code" in error ? String(error.code) : "";
  return code === "" || error.message.includes(code) ? error.message : `${code}: ${error.message}`;
}

/** Made once: the stack trace of an error takes microseconds. */
const ended = new Error("The exchange has ended");

/** One request, from its wait for a connection to the last byte of the response. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #cut: AnswerCut | undefined;
  readonly #settle: { resolve: (answer: HttpAnswer) => void; reject: (error: HttpError) => void };
  readonly #timer: NodeJS.Timeout;
  readonly #signal: AbortSignal | undefined;
  readonly #body: HttpCall["body"];
  #controller: Dispatcher.DispatchController | null = null;
  #closed: Error | null = null;
  #status = 0;
  #headers: HttpAnswer["headers"] = {};
  #kept: Buffer[] = [];
  #readBytes = 0;

  constructor(
    { timeoutMs, signal, body }: HttpCall,
    cut: AnswerCut | undefined,
    resolve: (answer: HttpAnswer) => void,
    reject: (error: HttpError) => void,
  ) {
    this.#cut = cut;
    this.#settle = { resolve, reject };
    this.#timer = setTimeout(
      () => this.#fail(new Error(`No complete response arrived within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    this.#signal = signal;
    this.#body = body;
    signal?.addEventListener("abort", this.#onAbort);
    if (signal?.aborted) this.#onAbort();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#closed !== null) controller.abort(this.#closed);
    else this.#controller = controller;
  }

  onResponseStart(_: unknown, status: number, headers: Record<string, string | string[] | undefined>): void {
    if (status < 200) return;
    this.#status = status;
    Object.assign(this.#headers, firstValues(headers));
  }

  onResponseData(_: unknown, chunk: Buffer): void {
    const cut = this.#cut;
    if (cut === undefined) return void this.#kept.push(chunk);
    if (this.#readBytes < cut.keptBytes) this.#kept.push(chunk.subarray(0, cut.keptBytes - this.#readBytes));
    this.#readBytes += chunk.length;
    if (this.#readBytes < cut.readBytes) return;
    this.#succeed();
    this.#controller!.abort(new Error("The rest of the response is not read"));
  }

  onResponseEnd(): void {
    this.#succeed();
  }

  onResponseError(_: unknown, error: Error): void {
    this.#fail(error);
  }

  #onAbort = (): void => this.#fail(new Error("The request was aborted", { cause: this.#signal!.reason }));

  #succeed(): void {
    if (!this.#close(ended)) return;
    const body = Buffer.concat(this.#kept)
      .toString()
      .replace(/^\uFEFF/, "");
    this.#settle.resolve({ status: this.#status, headers: this.#headers, body });
  }

  #fail(error: Error): void {
    if (!this.#close(error)) return;
    // A request starts when it has a connection, just before its first byte is written.
    const mayHaveArrived = this.#controller !== null && (!isStreamed(this.#body) || this.#body.isSent());
    this.#settle.reject(new HttpError(messageOf(error), mayHaveArrived, error));
    this.#controller?.abort(error);
  }

  /** Returns false when it was closed before. */
  #close(reason: Error): boolean {
    if (this.#closed !== null) return false;
    this.#closed = reason;
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#onAbort);
    return true;
  }
}
