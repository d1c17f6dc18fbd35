import { forbidden, type RequestError } from "../errors.ts";
import type { Db } from "../lib/query.ts";
import type { Address } from "./address.ts";
import { findOwners } from "./address-book.ts";

/**
 * The user with this address, for a caller who may not reach contacts. Throws FORBIDDEN with the same message whether a
 * contact has the address or not.
 */
export async function requireUserAt(db: Db, workspaceId: string, address: Address, field: string): Promise<string> {
  const [owner] = await findOwners(db, workspaceId, [address]);
  if (owner?.kind !== "user") throw onlyUsers(field);
  return owner.participantId;
}

export function onlyUsers(field: string): RequestError {
  return forbidden(
    `${field}: with the role member you can name only users of this workspace, and write to contacts only in conversations ` +
      "that you are in. Ask an agent to add you.",
    { field },
  );
}
