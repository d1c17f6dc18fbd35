import type { Principal } from "./principal.ts";
import type { VerifiedClaims } from "./tokens.ts";

export interface CachedCredential {
  principal: Principal;
  checkedAtMs: number;
  /** `Infinity` for an API key that does not expire. */
  expiresAtMs: number;
  claims: VerifiedClaims | undefined;
}

/** Two generations instead of a strict order: a hit moves nothing, and a full young one replaces the old one. */
export function openCredentialCache(size: number) {
  const generationSize = Math.ceil(size / 2);
  let young = new Map<string, CachedCredential>();
  let old = new Map<string, CachedCredential>();

  function set(credential: string, cached: CachedCredential): void {
    if (young.size >= generationSize && !young.has(credential)) {
      old = young;
      young = new Map();
    }
    young.set(credential, cached);
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
