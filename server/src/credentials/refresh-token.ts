import { createHmac, randomBytes } from "node:crypto";
import { hashToken, newOpaqueToken } from "./tokens.ts";

export interface RefreshToken {
  token: string;
  /** Of the part that all tokens of a session share: finds the session of a token of any age. */
  familyHash: Buffer;
  hash: Buffer;
}

export function newRefreshToken(): RefreshToken {
  return known(newOpaqueToken(newOpaqueToken(prefix)));
}

export function readRefreshToken(token: string): RefreshToken | null {
  return pattern.test(token) ? known(token) : null;
}

/** The same for the same salt, so that a lost response can be repeated. It needs both the old token and the salt. */
export function successorOf({ token }: RefreshToken, salt: Buffer): RefreshToken {
  const family = pattern.exec(token)![1]!;
  return known(prefix + family + createHmac("sha256", salt).update(token).digest("base64url"));
}

export function newSalt(): Buffer {
  return randomBytes(32);
}

const prefix = "c4r_";

/** The part that all tokens of the session share, then the token's own; 256 bits each. */
const pattern = /^c4r_([\w-]{43})[\w-]{43}$/;

function known(token: string): RefreshToken {
  return { token, familyHash: hashToken(pattern.exec(token)![1]!), hash: hashToken(token) };
}
