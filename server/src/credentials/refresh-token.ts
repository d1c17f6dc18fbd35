import { createHmac, randomBytes } from "node:crypto";
import { hashToken, newOpaqueToken } from "./tokens.ts";

/** A refresh token as it was given out, and what the database keeps of it. */
export interface RefreshToken {
  token: string;
  /** Of the part that all tokens of the session share: it finds the session, however old the token is. */
  familyHash: Buffer;
  /** Of this token alone. */
  hash: Buffer;
}

/** The first token of a session. */
export function newRefreshToken(): RefreshToken {
  return known(newOpaqueToken(newOpaqueToken(prefix)));
}

/** Null for what never was a refresh token. */
export function readRefreshToken(token: string): RefreshToken | null {
  return pattern.test(token) ? known(token) : null;
}

/**
 * The token that takes the place of another: always the same for the same salt, so that a client which lost the answer
 * gets it again. Who holds the old token but not the salt cannot tell it, nor who holds the salt but not the token.
 */
export function successorOf({ token }: RefreshToken, salt: Buffer): RefreshToken {
  const family = pattern.exec(token)![1]!;
  return known(prefix + family + createHmac("sha256", salt).update(token).digest("base64url"));
}

export function newSalt(): Buffer {
  return randomBytes(32);
}

const prefix = "c4r_";

/** The part that the session's tokens share, then the part that is this token's own; 256 bits each. */
const pattern = /^c4r_([\w-]{43})[\w-]{43}$/;

function known(token: string): RefreshToken {
  return { token, familyHash: hashToken(pattern.exec(token)![1]!), hash: hashToken(token) };
}
