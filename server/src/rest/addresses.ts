import { contactAddresses, userAddresses } from "../../../contract/src/addresses.ts";
import type { CodeRoute } from "../channel-accounts/channel-accounts.ts";
import {
  type AddressHolder,
  addAddress,
  getContact,
  type HolderView,
  type ParseAddress,
  removeAddress,
  startVerification,
  verifyAddress,
} from "../contacts/contacts.ts";
import { hasRole, type Principal, requireMayManageRole } from "../credentials/credentials.ts";
import { forbidden } from "../errors.ts";
import type { App } from "../http/app.ts";
import { route } from "../http/route.ts";
import type { Clock } from "../lib/clock.ts";
import type { Db } from "../lib/query.ts";
import { getUser } from "../users/users.ts";
import { showContact } from "./contacts.ts";

interface AddressRouteDeps {
  clock: Clock;
  parseAddress: ParseAddress;
  /** How the codes of a channel are sent. Rejects with NO_ROUTE or OVERLOADED, regardless of the address. */
  findCodeRoute: (db: Db, workspaceId: string, channel: string) => Promise<CodeRoute>;
}

/**
 * `…/addresses` of contacts and users. Agents change the addresses of contacts. Admins change those of users; users
 * remove their own, and add one with a proof. Adding an address again changes nothing.
 */
export function addressRoutes(app: App, { clock, parseAddress, findCodeRoute }: AddressRouteDeps): void {
  route(app, contactAddresses.addContactAddress, async ({ principal, db, params, body }) => {
    const holder = contactOf(principal, params.id);
    const { participantId } = await addAddress({ db, clock }, principal, holder, parseAddress(body.address));
    return showContact(await getContact(db, principal.workspaceId, participantId));
  });

  route(app, contactAddresses.removeContactAddress, ({ principal, db, params }) =>
    removeAddress(db, principal, contactOf(principal, params.id), parseAddress(params.address)),
  );

  route(app, userAddresses.addUserAddress, async ({ principal, db, params, body }, reply) => {
    const holder = await userOf(db, principal, params.id);
    const address = parseAddress(body.address);
    if (hasRole(principal, "admin")) {
      reply.status(201);
      return showUser(await addAddress({ db, clock }, principal, holder, address));
    }
    const who = { workspaceId: principal.workspaceId, userId: principal.userId };
    const codes = await findCodeRoute(db, who.workspaceId, address.channel);
    const { verificationId, expiresAt, ...verification } = await startVerification({ db, clock }, who, address);
    codes.send({ identifier: address.identifier, ...verification });
    reply.status(202);
    return { verification_id: verificationId, expires_at: expiresAt.toISOString(), help: codes.help };
  });

  route(app, userAddresses.verifyUserAddress, async ({ principal, db, params, body }) => {
    if (params.id !== principal.userId) throw forbidden("Users can prove only their own addresses.");
    requireMayManageRole(principal, principal.role);
    const proof = { verificationId: body.verification_id, code: body.code };
    return showUser(await verifyAddress({ db, clock }, principal, principal.userId, proof));
  });

  route(app, userAddresses.removeUserAddress, async ({ principal, db, params }) =>
    removeAddress(db, principal, await userOf(db, principal, params.id), parseAddress(params.address)),
  );
}

function showUser({ participantId, displayName, addresses }: HolderView) {
  return { user_id: participantId, display_name: displayName, addresses };
}

function contactOf({ workspaceId }: Principal, participantId: string): AddressHolder {
  return { workspaceId, participantId, kind: "contact" };
}

async function userOf(db: Db, principal: Principal, participantId: string): Promise<AddressHolder> {
  const { workspaceId } = principal;
  if (participantId === principal.userId) requireMayManageRole(principal, principal.role);
  else {
    if (!hasRole(principal, "admin")) throw forbidden("Only admins can change the addresses of other users.");
    requireMayManageRole(principal, (await getUser(db, { workspaceId, userId: participantId })).role);
  }
  return { workspaceId, participantId, kind: "user" };
}
