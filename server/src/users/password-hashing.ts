import type { Actor, Origin } from "../audit/audit.ts";

/** How users get a password; `log-in/` implements it, see its `PasswordHasher`. */
export interface PasswordHashing {
  /** The hash to store. OVERLOADED when too many passwords are being hashed for this request's client, or in all. */
  hash(password: string, requester: Requester): Promise<string>;
}

/** A request that needs a password hashed: requests of one client address, and of one account there, take turns. */
export interface Requester {
  origin: Origin;
  account: string;
}

/** The requester for a request of a caller who is authenticated. */
export function requesterOf(by: Actor): Requester {
  return { origin: by.origin, account: "callerId" in by ? by.callerId : "" };
}
