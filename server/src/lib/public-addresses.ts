import { BlockList, isIP } from "node:net";

/** Also for IPv4 inside IPv6, and for what is not an IP address. Source: the IANA special-purpose address registries. */
export function isPrivateAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return special4.check(address, "ipv4");
    case 6:
      // A zone (`fe80::1%eth0`) has a meaning on this machine only.
      return address.includes("%") || !unicast6.check(address, "ipv6") || special6.check(address, "ipv6");
    default:
      return true;
  }
}

/** Also a name that public DNS does not have. Another may resolve to a private IP address: see `publicLookup`. */
export function isInsideHost(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  if (isIP(host) !== 0) return isPrivateAddress(host);
  return insideNames.test(host) || !host.includes(".");
}

/** Whether only this machine can reach the host; false for any name but localhost. */
export function isLoopbackHost(host: string): boolean {
  const plain = host.replace(/^\[|\]$/g, "").toLowerCase();
  return plain === "localhost" || (isIP(plain) === 4 && plain.startsWith("127.")) || isLoopback6(plain);
}

function isLoopback6(host: string): boolean {
  return isIP(host) === 6 && loopback6.check(host, "ipv6");
}

const loopback6 = blockList("ipv6", [["::1", 128]]);

/** Source: RFC 6761, RFC 6762, RFC 8375, and ICANN's reservation of `internal`. */
const insideNames = /(^|\.)(localhost|local|internal|home\.arpa)$/;

const unicast6 = blockList("ipv6", [["2000::", 3]]);

const special6 = blockList("ipv6", [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
]);

const special4 = blockList("ipv4", [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
]);

function blockList(family: "ipv4" | "ipv6", networks: readonly (readonly [network: string, prefix: number])[]) {
  const list = new BlockList();
  for (const [network, prefix] of networks) list.addSubnet(network, prefix, family);
  return list;
}
