import type { IncomingMessage, ServerOptions } from "node:http";
import { invalid, RequestError } from "../errors.ts";

export interface DoorLimits {
  /** From the opened connection, or the first byte of a later request, to the end of the headers. */
  headersTimeoutMs: number;
  /** The same, to the end of the body. */
  requestTimeoutMs: number;
  /** Instead of the last one, for the bodies of files: how long they may pause, and how long they may take in all. */
  silentBodyMs: number;
  slowBodyMs: number;
  /** How often the first two are checked: either may last this much longer. */
  checkEveryMs: number;
  /** How long a connection may stall with a response that the client does not read. Streams send something more often. */
  stalledTimeoutMs: number;
  keepAliveTimeoutMs: number;
  handshakeTimeoutMs: number;
  maxHeaderBytes: number;
  maxHeaders: number;
  maxBodyBytes: number;
  /** At a time, in this process; more are closed as soon as they open. */
  maxConnections: number;
}

export const doorLimits: DoorLimits = {
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  silentBodyMs: 30_000,
  slowBodyMs: 3_600_000,
  checkEveryMs: 2_000,
  stalledTimeoutMs: 120_000,
  keepAliveTimeoutMs: 72_000,
  handshakeTimeoutMs: 10_000,
  maxHeaderBytes: 16 * 1024,
  maxHeaders: 100,
  maxBodyBytes: 1024 * 1024,
  maxConnections: 20_000,
};

/** Those that Node keeps, for a server with or without TLS. */
export function serverOptions(limits: DoorLimits): ServerOptions {
  return {
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    connectionsCheckingInterval: limits.checkEveryMs,
    maxHeaderSize: limits.maxHeaderBytes,
    requireHostHeader: false,
  };
}

/** What is wrong with the headers of a request, beside their bytes, which Node counts. */
export function refuseHeaders(request: IncomingMessage, limits: DoorLimits): RequestError | undefined {
  const { rawHeaders, headers, httpVersion } = request;
  if (rawHeaders.length > 2 * limits.maxHeaders) return headersTooLarge();
  // HTTP/1.0 has no such header. Source: RFC 9112, section 3.2.
  if (headers.host === undefined && httpVersion !== "1.0") {
    return invalid("The header host is missing: send the name of the host that you call.");
  }
  if (headers.host !== undefined && !hostForm.test(headers.host)) {
    return invalid("The header host must be a host name or an IP address, with or without a port.");
  }
  if (countHosts(rawHeaders) > 1) return invalid("The header host was sent more than once: send it once.");
  return undefined;
}

/** Source: RFC 3986, section 3.2.2. An empty name is valid in the RFC, but names no host. */
const hostForm = /^(\[[\w:.%~-]+\]|[\w.~!$&'()*+,;=%-]+)(:\d{0,5})?$/;

function countHosts(rawHeaders: readonly string[]): number {
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!;
    if (name.length === 4 && name.toLowerCase() === "host") count += 1;
  }
  return count;
}

/** What is wrong with the query: Fastify would accept text that is not UTF-8. */
export function refuseQuery(url: string): RequestError | undefined {
  const start = url.indexOf("?");
  if (start < 0 || !url.includes("%", start)) return undefined;
  try {
    decodeURIComponent(url.slice(start));
    return undefined;
  } catch {
    return invalid("The query is not valid: encode it as UTF-8 with percent encoding.");
  }
}

export function headersTooLarge(): RequestError {
  return new RequestError(
    "HEADERS_TOO_LARGE",
    "There are too many headers, or they are too long: send at most 100, with at most 16 KiB in all.",
  );
}
