import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import proxyAddr from "@fastify/proxy-addr";
import type { FastifyRequest } from "fastify";

/** The proxies in front whose `x-forwarded-…` headers are trusted: how many, or their networks; `null`: none. */
export type TrustedProxies = number | readonly string[] | null;

/**
 * Whether the IP address at a hop, counted from the hub, is a trusted proxy. A number trusts every client that connects,
 * so the hub must then be reachable only through that many proxies.
 */
export function openTrust(proxies: TrustedProxies): (address: string, hop: number) => boolean {
  if (typeof proxies === "number") return (_address, hop) => hop < proxies;
  return proxies === null ? () => false : proxyAddr.compile([...proxies]);
}

/** `clientAddress` for requests that Fastify does not see, with the library that Fastify uses. */
export function openClientAddress(proxies: TrustedProxies): (request: IncomingMessage) => string {
  const isTrusted = openTrust(proxies);
  return (request) => farthestAddress(proxyAddr.all(request, isTrusted));
}

/**
 * The IP address of the client: the farthest one that trusted proxies name. A hop that names none, such as `unknown`
 * (RFC 7239, section 6.2), counts as the client itself.
 */
export function clientAddress({ ip, ips }: Pick<FastifyRequest, "ip" | "ips">): string {
  return farthestAddress(ips ?? [ip]);
}

/** The hops begin with the IP address of the connection, which is unknown when the client has already disconnected. */
function farthestAddress(hops: readonly (string | undefined)[]): string {
  for (let index = hops.length - 1; index >= 0; index -= 1) {
    const address = withoutPortAndZone(hops[index] ?? "");
    if (isIP(address) !== 0) return address;
  }
  return "";
}

/** Some proxies write `192.0.2.1:4711` and `[2001:db8::1]:4711`. The zone of `fe80::1%eth0` is a free text (RFC 4007). */
function withoutPortAndZone(hop: string): string {
  const address =
    isIP(hop) !== 0 ? hop : (/^\[(.+)\](?::\d+)?$/.exec(hop)?.[1] ?? /^([\d.]+):\d+$/.exec(hop)?.[1] ?? hop);
  return address.split("%", 1)[0]!;
}
