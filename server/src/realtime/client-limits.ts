import type { Principal } from "../credentials/credentials.ts";
import { RequestError } from "../errors.ts";
import { addressKey } from "../lib/rate-limits/address-key.ts";

export interface ClientLimits {
  perUser: number;
  /** Of one client IP address, or one IPv6 network of 64 bits. */
  perAddress: number;
}

const retryAfterSeconds = 30;

/** Limits the clients of one user and of one IP address, so that none can take all places of a process. */
export function openClientLimits({ perUser, perAddress }: ClientLimits) {
  const counts = new Map<string, number>();

  function giveBack(key: string): void {
    const left = counts.get(key)! - 1;
    if (left === 0) counts.delete(key);
    else counts.set(key, left);
  }

  return {
    /** Takes a place; call the returned function once to give it back. Throws RATE_LIMIT_EXCEEDED. */
    take({ userId }: Principal, address: string): () => void {
      const shares = [
        { key: `user ${userId}`, limit: perUser, of: "This user and its API keys have", setting: "SOCKETS_PER_USER" },
        {
          key: `address ${addressKey(address)}`,
          limit: perAddress,
          of: "This IP address has",
          setting: "SOCKETS_PER_ADDRESS",
        },
      ];
      const full = shares.find(({ key, limit }) => (counts.get(key) ?? 0) >= limit);
      if (full !== undefined) {
        const message = `${full.of} ${full.limit} sockets and event streams open, which is the limit (${full.setting}). Close one first.`;
        throw new RequestError("RATE_LIMIT_EXCEEDED", message, { retryAfterSeconds });
      }
      for (const { key } of shares) counts.set(key, (counts.get(key) ?? 0) + 1);
      return () => {
        for (const { key } of shares) giveBack(key);
      };
    },
  };
}
