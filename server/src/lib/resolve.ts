import { ADDRCONFIG, type LookupAddress, promises } from "node:dns";
import type { LookupFunction } from "node:net";
import { isPrivateAddress } from "./public-addresses.ts";

/** Rejects when there are none. */
export type Resolve = (hostname: string) => Promise<LookupAddress[]>;

export const systemResolve: Resolve = (hostname) => promises.lookup(hostname, { all: true, hints: ADDRCONFIG });

const questionMs = 2_000;

/** For names from outside: the system's resolver blocks a thread for a silent server, and uses the hosts file. */
export function dnsResolve(servers?: readonly string[]): Resolve {
  const resolver = new promises.Resolver({ timeout: questionMs, tries: 2 });
  if (servers !== undefined) resolver.setServers(servers);
  return async (hostname) => {
    const [four, six] = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)]);
    const found = [...addressesOf(four, 4), ...addressesOf(six, 6)];
    if (found.length === 0) throw four.status === "rejected" ? four.reason : new Error(`${hostname} has no IP address`);
    return found;
  };
}

function addressesOf(settled: PromiseSettledResult<string[]>, family: 4 | 6): LookupAddress[] {
  return settled.status === "fulfilled" ? settled.value.map((address) => ({ address, family })) : [];
}

/** Sockets connect to the IP address that was checked. A name with any private IP address fails with `EPRIVATE`. */
export function publicLookup(resolve: Resolve): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname).then(
      (addresses) => {
        if (addresses.some(({ address }) => isPrivateAddress(address))) {
          return callback(privateAddress(hostname), "", 0);
        }
        if (options.all) return (callback as unknown as (e: null, all: LookupAddress[]) => void)(null, addresses);
        callback(null, addresses[0]!.address, addresses[0]!.family);
      },
      (error) => callback(error, "", 0),
    );
  };
}

function privateAddress(hostname: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${hostname} resolves to a private IP address`), { code: "EPRIVATE" });
}
