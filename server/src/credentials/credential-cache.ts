import type { Principal } from "./principal.ts";
import type { VerifiedClaims } from "./tokens.ts";

/** A credential that was believed. */
export interface CachedCredential {
  principal: Principal;
  /** When the database was asked, by `Clock.elapsed`, like the end. */
  checkedAtMs: number;
  /** `Infinity` for an API key without an end. */
  expiresAtMs: number;
  /** What the token says, whose signature need not be verified again; undefined for an API key. */
  claims: VerifiedClaims | undefined;
}

/**
 * The credentials used last, at most `size` of them. Two generations instead of a strict order: a hit in the young one
 * costs one look-up and moves nothing, and when it is full the old one is dropped.
 */
export function openCredentialCache(size: number) {
  const generationSize = Math.ceil(size / 2);
  let young = new Map<string, CachedCredential>();
  let old = new Map<string, CachedCredential>();

  function set(credential: string, believed: CachedCredential): void {
    if (young.size >= generationSize && !young.has(credential)) {
      old = young;
      young = new Map();
    }
    young.set(credential, believed);
  }

  return {
    get(credential: string): CachedCredential | undefined {
      const hit = young.get(credential);
      if (hit !== undefined) return hit;
      const aged = old.get(credential);
      if (aged === undefined) return undefined;
      old.delete(credential);
      set(credential, aged);
      return aged;
    },
    set,
    delete(credential: string): void {
      young.delete(credential);
      old.delete(credential);
    },
    /** Deletes every credential whose principal the test names. Looks at all of them: for rare events only. */
    deleteWhere(test: (principal: Principal) => boolean): void {
      for (const generation of [young, old]) {
        for (const [credential, { principal }] of generation) if (test(principal)) generation.delete(credential);
      }
    },
    get size(): number {
      return young.size + old.size;
    },
  };
}
