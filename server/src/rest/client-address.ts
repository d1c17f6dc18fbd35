import type { IncomingMessage } from "node:http";
import { BlockList, isIP, isIPv6 } from "node:net";
import type { FastifyRequest } from "fastify";

/**
 * The client's address behind trusted proxies, for requests that Fastify does not see: the nearest hop that is no trusted
 * proxy, as `request.ip`. A number trusts so many hops.
 */
export function clientAddressOf(proxies: number | readonly string[] | null): (request: IncomingMessage) => string {
  const isTrusted = typeof proxies === "number" ? (_: string, hop: number) => hop < proxies : inNetworks(proxies ?? []);
  return ({ socket, headers }) => {
    const forwarded = [headers["x-forwarded-for"] ?? []].flat().join(",").split(",");
    const hops = [socket.remoteAddress ?? "", ...forwarded.map((hop) => hop.trim()).reverse()];
    let hop = 0;
    while (isIP(hops[hop + 1] ?? "") !== 0 && isTrusted(hops[hop]!, hop)) hop += 1;
    return hops[hop]!;
  };
}

function inNetworks(networks: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const network of networks) {
    const [address, bits] = network.split("/") as [string, string?];
    const family = isIPv6(address) ? "ipv6" : "ipv4";
    list.addSubnet(address, bits === undefined ? (family === "ipv6" ? 128 : 32) : Number(bits), family);
  }
  return (address) => list.check(address, isIPv6(address) ? "ipv6" : "ipv4");
}

/**
 * The address of the client: the farthest that trusted proxies name. What they pass on that is no address, such as
 * `unknown` (RFC 7239, section 6.2), counts as nothing: then it is the address of the hop that said so.
 */
export function clientAddress({ ip, ips, socket }: Pick<FastifyRequest, "ip" | "ips" | "socket">): string {
  if (isIP(ip) !== 0) return ip;
  for (const hop of (ips ?? [ip]).toReversed()) {
    const address = withoutPort(hop);
    if (isIP(address) !== 0) return address;
  }
  return socket.remoteAddress ?? "";
}

/** Some proxies write `192.0.2.1:4711` and `[2001:db8::1]:4711`. */
function withoutPort(hop: string): string {
  return /^\[([0-9a-f:.]+)\](?::\d+)?$/i.exec(hop)?.[1] ?? /^([\d.]+):\d+$/.exec(hop)?.[1] ?? hop;
}
