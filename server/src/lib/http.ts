import { lookup } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";
import { Agent, errors, request } from "undici";

/** Outbound HTTP as a value. Redirects are never followed. */
export type HttpClient = (call: HttpCall) => Promise<HttpAnswer>;

export interface HttpCall {
  method: string;
  url: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
  /** Bound of the whole exchange, in milliseconds. */
  timeoutMs: number;
}

export interface HttpAnswer {
  status: number;
  /** Lower-case names; the first value of a repeated one. */
  headers: Record<string, string | undefined>;
  body: string;
}

/** No usable answer. `mayHaveArrived` is false only when nothing can have reached the other side. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly mayHaveArrived: boolean;

  constructor(message: string, mayHaveArrived: boolean, cause: unknown) {
    super(message, { cause });
    this.mayHaveArrived = mayHaveArrived;
  }
}

export interface HttpClientOptions {
  /** Open sockets to one host at the most. */
  connectionsPerHost: number;
  /** Whether private, loopback and link-local addresses may be reached; checked on the address that is dialled. */
  allowPrivate: boolean;
  /** Origins (`http://127.0.0.1:8090`) that may be reached all the same. */
  allowedOrigins?: readonly string[];
}

/** Answers longer than this are cut off as an error: no platform answer we read comes near it. */
export const maxAnswerBytes = 1024 * 1024;

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
    keepAliveTimeout: 30_000,
    maxResponseSize: maxAnswerBytes,
  };
  const open = new Agent({ ...shared, connect: { timeout: 5_000 } });
  const guarded = new Agent({ ...shared, connect: { timeout: 5_000, lookup: publicLookup } });
  const http: HttpClient = async (call) => {
    const url = new URL(call.url);
    const isOpen = options.allowPrivate || options.allowedOrigins?.includes(url.origin) === true;
    const host = url.hostname.replace(/^\[|\]$/g, "");
    if (!isOpen && isIP(host) !== 0 && isPrivateAddress(host)) {
      throw new HttpError(`${url.host} is a private address`, false, null);
    }
    try {
      const answer = await request(url, {
        dispatcher: isOpen ? open : guarded,
        method: call.method as "GET",
        headers: call.headers ?? {},
        body: call.body ?? null,
        // Of the whole exchange; undici's own bounds are each between two bytes.
        signal: AbortSignal.timeout(call.timeoutMs),
        headersTimeout: 0,
        bodyTimeout: 0,
      });
      const headers: Record<string, string | undefined> = {};
      for (const [name, value] of Object.entries(answer.headers))
        headers[name] = Array.isArray(value) ? value[0] : value;
      return { status: answer.statusCode, headers, body: await answer.body.text() };
    } catch (error) {
      throw toHttpError(error);
    }
  };
  return { http, close: async () => void (await Promise.all([open.destroy(), guarded.destroy()])) };
}

function toHttpError(error: unknown): HttpError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof errors.InvalidArgumentError) return new HttpError(message, false, error);
  return new HttpError(code && !message.includes(code) ? `${code}: ${message}` : message, !neverSent.has(code), error);
}

const private4 = new BlockList();
const private6 = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
] as const)
  private4.addSubnet(network, prefix, "ipv4");
for (const [network, prefix] of [
  ["::", 128],
  ["::1", 128],
  ["64:ff9b::", 96],
  ["64:ff9b:1::", 48],
  ["100::", 64],
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["fc00::", 7],
  ["fe80::", 10],
  ["fec0::", 10],
  ["ff00::", 8],
  ["::ffff:0:0", 96],
  ["::", 96],
] as const)
  private6.addSubnet(network, prefix, "ipv6");

/** Whether an IP address is not one of the public internet. IPv4 inside IPv6 counts as private: nobody public needs it. */
export function isPrivateAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return private4.check(address, "ipv4");
    case 6:
      return private6.check(address, "ipv6");
    default:
      return true;
  }
}

const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error) return callback(error, "", 0);
    const allowed = addresses.filter(({ address }) => !isPrivateAddress(address));
    const first = allowed[0];
    if (!first)
      return callback(
        Object.assign(new Error(`${hostname} resolves to a private address`), { code: "EPRIVATE" }),
        "",
        0,
      );
    if (options.all) return (callback as unknown as (e: null, a: typeof allowed) => void)(null, allowed);
    callback(null, first.address, first.family);
  });
};
