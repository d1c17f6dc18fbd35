import { forbidden, type RequestError } from "../errors.ts";
import type { Db } from "../lib/query.ts";
import { type Address, formatAddress } from "./address.ts";
import { ownersByAddress } from "./address-book.ts";

/**
 * The users with these addresses, in order, for a caller who may not reach contacts. Throws FORBIDDEN for the first
 * address without one, with the same message whether a contact has it or not.
 */
export async function requireUsersAt(
  db: Db,
  workspaceId: string,
  named: readonly { address: Address; field: string }[],
): Promise<string[]> {
  const addresses = named.map(({ address }) => address);
  const owners = await ownersByAddress(db, workspaceId, addresses);
  return named.map(({ address, field }) => {
    const owner = owners.get(formatAddress(address));
    if (owner?.kind !== "user") throw onlyUsers(field);
    return owner.participantId;
  });
}

export function onlyUsers(field: string): RequestError {
  return forbidden(
    `${field}: with the role member you can name only users of this workspace, and write to contacts only in conversations ` +
      "that you are in. Ask an agent to add you.",
    { field },
  );
}
