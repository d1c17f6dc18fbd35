import type { IncomingMessage } from "node:http";
import { BlockList, isIP, isIPv6 } from "node:net";

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
