import { ADDRCONFIG, type LookupAddress, promises } from "node:dns";
import type { LookupFunction } from "node:net";
import { isPrivateAddress } from "./public-addresses.ts";

/** All addresses of a host name; rejects when there are none. */
export type Resolve = (hostname: string) => Promise<LookupAddress[]>;

/** As the operating system does it, its hosts file included. */
export const systemResolve: Resolve = (hostname) => promises.lookup(hostname, { all: true, hints: ADDRCONFIG });

/** How long one question to one name server may take, in milliseconds; each is asked twice. */
const questionMs = 2_000;

/**
 * By DNS alone. Names that strangers chose belong here: the operating system's way blocks one of the process's few
 * threads for each name whose server is silent, and takes what the hosts file says. `servers` (`127.0.0.1:53`) default
 * to those of the system.
 */
export function dnsResolve(servers?: readonly string[]): Resolve {
  const resolver = new promises.Resolver({ timeout: questionMs, tries: 2 });
  if (servers !== undefined) resolver.setServers(servers);
  return async (hostname) => {
    const [four, six] = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)]);
    const found = [...addressesOf(four, 4), ...addressesOf(six, 6)];
    if (found.length === 0) throw four.status === "rejected" ? four.reason : new Error(`${hostname} has no address`);
    return found;
  };
}

function addressesOf(settled: PromiseSettledResult<string[]>, family: 4 | 6): LookupAddress[] {
  return settled.status === "fulfilled" ? settled.value.map((address) => ({ address, family })) : [];
}

/**
 * For sockets: what is looked up here is what is dialled, there is no second look. A name with a single private address
 * among its addresses is refused as a whole, with the code `EPRIVATE`.
 */
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
  return Object.assign(new Error(`${hostname} resolves to a private address`), { code: "EPRIVATE" });
}
