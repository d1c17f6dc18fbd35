import { isIPv4, isIPv6 } from "node:net";

/** An IPv4 address, the first 64 bits of an IPv6 address (one customer's), or else the text as it is. */
export function addressKey(address: string): string {
  const ip = address.replace(/%.*$/, "");
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)?.[1];
  if (mapped !== undefined && isIPv4(mapped)) return mapped;
  if (!isIPv6(ip)) return ip;
  const [head, tail] = ip.split("::", 2) as [string, string?];
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  // An IPv4 address at the end counts as two groups.
  const groups = before.length + after.length + (after.at(-1)?.includes(".") ? 1 : 0);
  const filled = tail === undefined ? before : [...before, ...Array(8 - groups).fill("0"), ...after];
  return `${filled
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}
