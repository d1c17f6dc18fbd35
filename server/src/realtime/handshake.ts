import type { IncomingMessage } from "node:http";
import { forbidden, type RequestError } from "../errors.ts";
import { credentialOf } from "../http/credential.ts";

/** What an upgrade request asks for. */
export interface Handshake {
  /** As the value of an `authorization` header; undefined when no credential came. */
  authorization: string | undefined;
  /** The subprotocol to agree to, or none. */
  protocol: "bearer" | undefined;
  /** Where to go on from, when the client says so at once. */
  cursor: string | undefined;
}

export interface OriginRules {
  /** `https://example.com`, without a path. */
  corsOrigins: readonly string[];
  /** How the outside reaches the hub. */
  publicUrl: string;
}

type UpgradeRequest = Pick<IncomingMessage, "url" | "headers" | "rawHeaders">;

/**
 * Reads an upgrade request. Browsers cannot set the header, so the token may come as a parameter or a subprotocol. Throws
 * AUTH_INVALID for two `authorization` headers, as any request.
 */
export function readHandshake(request: UpgradeRequest): Handshake {
  const { url = "/", headers } = request;
  const credential = credentialOf(request);
  const { searchParams } = new URL(url, "http://hub");
  const [protocol, token] = (headers["sec-websocket-protocol"] ?? "").split(",").map((part) => part.trim());
  const offered = protocol === "bearer" && token ? token : undefined;
  const given = offered ?? searchParams.get("token") ?? undefined;
  return {
    authorization: credential ?? (given === undefined ? undefined : `Bearer ${given}`),
    protocol: protocol === "bearer" ? "bearer" : undefined,
    cursor: searchParams.get("cursor") ?? undefined,
  };
}

/**
 * A page of another site must not open a socket with what a browser knows of its user. Programs send no origin. Throws
 * FORBIDDEN.
 */
export function requireOwnOrigin({ headers }: Pick<IncomingMessage, "headers">, rules: OriginRules): void {
  const { origin, host } = headers;
  if (origin === undefined || rules.corsOrigins.includes(origin) || rules.corsOrigins.includes("*")) return;
  const given = URL.canParse(origin) ? new URL(origin) : null;
  const isWritten = given !== null && given.origin === origin.toLowerCase();
  const isWeb = given?.protocol === "https:" || given?.protocol === "http:";
  const isOwn = isWeb && (given.origin === new URL(rules.publicUrl).origin || given.host === host?.toLowerCase());
  if (!isWritten || !isOwn) throw forbidden("This origin may not open a socket: name it in CORS_ORIGINS.");
}

/** The status line and the body with which an upgrade is refused. */
export function refusal(error: RequestError, status: number, body: object): string {
  const text = JSON.stringify(body);
  const lines = [
    `HTTP/1.1 ${status} ${error.code}`,
    "content-type: application/json; charset=utf-8",
    `content-length: ${Buffer.byteLength(text)}`,
    "connection: close",
  ];
  if (status === 401) lines.push("www-authenticate: Bearer");
  if (error.retryAfterSeconds !== undefined) lines.push(`retry-after: ${Math.ceil(error.retryAfterSeconds)}`);
  return [...lines, "", text].join("\r\n");
}
