import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import proxyAddr from "@fastify/proxy-addr";
import type { FastifyRequest } from "fastify";

/** The proxies in front whose `x-forwarded-…` headers are believed: how many, or their networks; `null`: none. */
export type TrustedProxies = number | readonly string[] | null;

/**
 * Whether the address at a hop, counted from the hub, is a trusted proxy. A number trusts each client that connects: then
 * the hub must be reachable only through that many proxies.
 */
export function openTrust(proxies: TrustedProxies): (address: string, hop: number) => boolean {
  if (typeof proxies === "number") return (_address, hop) => hop < proxies;
  return proxies === null ? () => false : proxyAddr.compile([...proxies]);
}

/** `clientAddress` for requests that Fastify does not see, by the library that Fastify uses for the others. */
export function openClientAddress(proxies: TrustedProxies): (request: IncomingMessage) => string {
  const isTrusted = openTrust(proxies);
  return (request) => farthestAddress(proxyAddr.all(request, isTrusted));
}

/**
 * The address of the client: the farthest that trusted proxies name. What they pass on that is no address, such as
 * `unknown` (RFC 7239, section 6.2), counts as nothing: then it is the address of the hop that said so.
 */
export function clientAddress({ ip, ips }: Pick<FastifyRequest, "ip" | "ips">): string {
  return farthestAddress(ips ?? [ip]);
}

/** The hops begin with the address of the connection; a client that disconnected before it was read has none. */
function farthestAddress(hops: readonly (string | undefined)[]): string {
  return hops.map((hop) => withoutPort(hop ?? "")).findLast((hop) => isIP(hop) !== 0) ?? "";
}

/** Some proxies write `192.0.2.1:4711` and `[2001:db8::1]:4711`. */
function withoutPort(hop: string): string {
  return /^\[([0-9a-f:.]+)\](?::\d+)?$/i.exec(hop)?.[1] ?? /^([\d.]+):\d+$/.exec(hop)?.[1] ?? hop;
}
