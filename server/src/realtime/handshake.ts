import type { IncomingMessage } from "node:http";
import { forbidden, type RequestError } from "../errors.ts";
import { credentialOf } from "../http/credential.ts";

interface Handshake {
  authorization: string | undefined;
  protocol: "bearer" | undefined;
  cursor: string | undefined;
}

export interface OriginRules {
  /** `https://example.com`, without a path. */
  corsOrigins: readonly string[];
  publicUrl: string;
}

type UpgradeRequest = Pick<IncomingMessage, "url" | "headers" | "rawHeaders">;

/** Browsers cannot set the header, so the token may be a parameter or a subprotocol. Throws AUTH_INVALID for two. */
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

/** Throws FORBIDDEN for web pages of other sites. Programs send no origin. */
export function requireOwnOrigin({ headers }: Pick<IncomingMessage, "headers">, rules: OriginRules): void {
  const { origin, host } = headers;
  if (origin === undefined || rules.corsOrigins.includes(origin) || rules.corsOrigins.includes("*")) return;
  const given = URL.canParse(origin) ? new URL(origin) : null;
  const isWritten = given !== null && given.origin === origin.toLowerCase();
  const isWeb = given?.protocol === "https:" || given?.protocol === "http:";
  const isOwn = isWeb && (given.origin === new URL(rules.publicUrl).origin || given.host === host?.toLowerCase());
  if (!isWritten || !isOwn) throw forbidden("This origin may not open a socket: name it in CORS_ORIGINS.");
}

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
