import { isIP } from "node:net";
import type { EnvKind } from "../lib/env-kinds.ts";
import type { EnvReader } from "../lib/env-reader.ts";
import type { RateLimit } from "../lib/rate-limits/rate-limits.ts";

/** Rate limits of requests that change something; `null`: no limit. */
export function readLimits(read: EnvReader) {
  return {
    byUser: read.value(
      "RATE_LIMIT_USER",
      rateLimit,
      "5/s:30",
      "Rate limit of requests that change something, for each user; API keys have their own limits.",
    ),
    byAddress: read.value(
      "RATE_LIMIT_ADDRESS",
      rateLimit,
      "20/s:100",
      "The same for each client IP address, for requests without a credential.",
    ),
  };
}

/** The proxies whose `x-forwarded-…` headers are trusted: their number, or their networks; `null`: none. */
export function readTrustedProxies(read: EnvReader): number | string[] | null {
  return read.optional(
    "TRUST_PROXY",
    trustedProxies,
    "none",
    "The trusted proxies in front of the hub: their number, or their IP addresses and networks.",
  );
}

const unitSeconds: Record<string, number> = { s: 1, m: 60, h: 3_600 };
/** The default burst, as a share of the average rate; never less than the number that is given. */
const burstSeconds = 6;
const highest = 1_000_000;

export const rateLimit: EnvKind<RateLimit | null> = {
  must: "a rate as in 5/s, 100/m or 1000/h, with :30 behind it for a burst of 30, or off",
  parse(value) {
    if (value === "off") return null;
    const [, amount, unit, burst] = /^(\d{1,7})\/([smh])(?::(\d{1,7}))?$/.exec(value) ?? [];
    if (amount === undefined || unit === undefined) return undefined;
    const perSecond = Number(amount) / unitSeconds[unit]!;
    const atOnce = burst === undefined ? Math.max(Number(amount), perSecond * burstSeconds) : Number(burst);
    return isWithin(Number(amount)) && (burst === undefined || isWithin(atOnce))
      ? { perSecond, burst: Math.floor(atOnce) }
      : undefined;
  },
};

const trustedProxies: EnvKind<number | string[]> = {
  must: "how many proxies there are (1 to 9), or their IP addresses and networks as in 10.0.0.0/8, separated by commas",
  parse(value) {
    if (/^[1-9]$/.test(value)) return Number(value);
    const networks = value.split(",").map((network) => network.trim());
    return networks.every(isNetwork) ? networks : undefined;
  },
};

function isWithin(amount: number): boolean {
  return amount >= 1 && amount <= highest;
}

function isNetwork(text: string): boolean {
  const [address, prefix, ...more] = text.split("/");
  const longest = { 4: 32, 6: 128 }[isIP(address!)];
  if (longest === undefined || more.length > 0) return false;
  // Trusting every IP address would let each client choose its own.
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) >= 1 && Number(prefix) <= longest);
}
