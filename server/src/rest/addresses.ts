import { Type } from "typebox";
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
import { forbidden } from "../errors.ts";
import type { App } from "../http/server.ts";
import { hasRole, type Principal, requireMayRule } from "../identity/principal.ts";
import { getUser } from "../identity/users.ts";
import type { Clock } from "../lib/clock.ts";
import type { Db } from "../lib/query.ts";
import { bearer, errorAnswers, idParams, nothing, time, uuid } from "./identity-schemas.ts";
import { addressText, contactResource, showContact } from "./people-schemas.ts";

export interface AddressRouteDeps {
  clock: Clock;
  parseAddress: ParseAddress;
  /** How codes of a channel are sent. Rejects with NO_ROUTE or OVERLOADED, which do not depend on the address. */
  findCodeRoute: (db: Db, workspaceId: string, channel: string) => Promise<CodeRoute>;
}

/**
 * `…/addresses` of contacts and users. Agents change the addresses of contacts. Admins change those of users; users
 * remove their own, and add one with a proof. Adding an address that is there already changes nothing.
 */
export function addressRoutes(app: App, { clock, parseAddress, findCodeRoute }: AddressRouteDeps): void {
  app.post(
    "/v1/contacts/:id/addresses",
    {
      config: { access: { role: "agent", scope: "contacts:write" }, idempotent: true },
      schema: {
        tags: ["Contacts"],
        security: bearer,
        summary: "Add an address to a contact",
        description: taken,
        params: idParams,
        body: addressBody,
        response: { 201: contactResource, ...errorAnswers(400, 401, 403, 404, 409) },
      },
    },
    async ({ principal, db, params, body }, reply) => {
      const holder = contactOf(principal, params.id);
      const { participantId } = await addAddress({ db, clock }, principal, holder, parseAddress(body.address));
      return reply.status(201).send(showContact(await getContact(db, principal.workspaceId, participantId)));
    },
  );

  app.delete(
    "/v1/contacts/:id/addresses/:address",
    {
      config: { access: { role: "agent", scope: "contacts:write" } },
      schema: {
        tags: ["Contacts"],
        security: bearer,
        summary: "Take an address from a contact",
        description: onItsWay,
        params: addressParams,
        response: { 204: nothing, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }, reply) => {
      await removeAddress(db, principal, contactOf(principal, params.id), parseAddress(params.address));
      return reply.status(204).send(null);
    },
  );

  app.post(
    "/v1/users/:id/addresses",
    {
      config: { access: { role: "member", scope: "users:write" }, idempotent: true, shows: ["expires_at", "help"] },
      schema: {
        tags: ["Users"],
        security: bearer,
        summary: "Add an address to a user",
        description:
          "An admin adds the address at once: 201, or 409 with the participant that has it. Users add their own with a " +
          "proof: 202, and the hub sends a one-time code to the address. It works for 10 minutes and 5 tries. The answer is " +
          "the same whether the platform takes the code or not, and `help` says what to do when none arrives. At most 3 " +
          "attempts are open and 5 begin in an hour, for one user and for one address. 422 when no account of the channel " +
          "is connected.",
        params: idParams,
        body: addressBody,
        response: {
          201: userAddresses,
          202: Type.Object({ verification_id: uuid, expires_at: time, help: Type.String() }),
          ...errorAnswers(400, 401, 403, 404, 409, 422, 429, 503),
        },
      },
    },
    async ({ principal, db, params, body }, reply) => {
      const holder = await userOf(db, principal, params.id);
      const address = parseAddress(body.address);
      if (hasRole(principal, "admin")) {
        return reply.status(201).send(showUser(await addAddress({ db, clock }, principal, holder, address)));
      }
      const who = { workspaceId: principal.workspaceId, userId: principal.userId };
      const route = await findCodeRoute(db, who.workspaceId, address.channel);
      const { verificationId, expiresAt, ...verification } = await startVerification({ db, clock }, who, address);
      route.send({ identifier: address.identifier, ...verification });
      const begun = { verification_id: verificationId, expires_at: expiresAt.toISOString(), help: route.help };
      return reply.status(202).send(begun);
    },
  );

  app.post(
    "/v1/users/:id/addresses/verify",
    {
      config: { access: { role: "member", scope: "users:write" } },
      schema: {
        tags: ["Users"],
        security: bearer,
        summary: "Prove an address with the code that was sent there",
        description:
          "For the user's own account. 409, without naming the owner, when another user has the address, or a contact to whom somebody wrote " +
          "or who is in a conversation with others: ask an admin.",
        params: idParams,
        body: Type.Object(
          { verification_id: uuid, code: Type.String({ pattern: "^[0-9]{6}$", description: "Six digits" }) },
          { additionalProperties: false },
        ),
        response: { 200: userAddresses, ...errorAnswers(400, 401, 403, 404, 409) },
      },
    },
    async ({ principal, db, params, body }) => {
      if (params.id.toLowerCase() !== principal.userId) throw forbidden("Users prove their own addresses only.");
      requireMayRule(principal, principal.role);
      const proof = { verificationId: body.verification_id.toLowerCase(), code: body.code };
      return showUser(await verifyAddress({ db, clock }, principal, principal.userId, proof));
    },
  );

  app.delete(
    "/v1/users/:id/addresses/:address",
    {
      config: { access: { role: "member", scope: "users:write" } },
      schema: {
        tags: ["Users"],
        security: bearer,
        summary: "Take an address from a user",
        description: onItsWay,
        params: addressParams,
        response: { 204: nothing, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }, reply) => {
      await removeAddress(db, principal, await userOf(db, principal, params.id), parseAddress(params.address));
      return reply.status(204).send(null);
    },
  );
}

const taken = "409 names the participant that has the address, as `details.participant_id`.";
const onItsWay = "What is on its way to the address goes on.";

const addressBody = Type.Object({ address: addressText }, { additionalProperties: false });
const addressParams = Type.Object({ id: uuid, address: addressText });

const userAddresses = Type.Object({
  user_id: uuid,
  display_name: Type.String(),
  addresses: Type.Array(Type.String()),
});

function showUser({ participantId, displayName, addresses }: HolderView) {
  return { user_id: participantId, display_name: displayName, addresses };
}

function contactOf({ workspaceId }: Principal, id: string): AddressHolder {
  return { workspaceId, participantId: id.toLowerCase(), kind: "contact" };
}

async function userOf(db: Db, principal: Principal, id: string): Promise<AddressHolder> {
  const participantId = id.toLowerCase();
  const { workspaceId } = principal;
  if (participantId === principal.userId) requireMayRule(principal, principal.role);
  else {
    if (!hasRole(principal, "admin")) throw forbidden("Only admins change the addresses of other users.");
    requireMayRule(principal, (await getUser(db, { workspaceId, userId: participantId })).role);
  }
  return { workspaceId, participantId, kind: "user" };
}
