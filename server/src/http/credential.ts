import type { IncomingMessage } from "node:http";
import { invalidToken } from "../credentials/credentials.ts";

/**
 * The value of the one `authorization` header; undefined without one. Throws AUTH_INVALID for two: Node keeps the first, but a
 * proxy in front may have checked the other.
 */
export function credentialOf({ headers, rawHeaders }: Pick<IncomingMessage, "headers" | "rawHeaders">) {
  let found = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    if (name.length === nameLength && name.toLowerCase() === "authorization") found += 1;
  }
  if (found > 1) throw invalidToken();
  return headers.authorization;
}

const nameLength = "authorization".length;
