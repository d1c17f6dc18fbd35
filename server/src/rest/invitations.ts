import { Type } from "typebox";
import {
  credentialFields,
  displayName,
  UserRole as roleName,
  User as userResource,
} from "../../../contract/src/users.ts";
import { decodeCursor, pageOf, pageQuery, toPage } from "../http/pages.ts";
import { type App, originOf } from "../http/server.ts";
import {
  acceptInvitation,
  type Invitation,
  type InvitationDeps,
  invite,
  listInvitations,
  revokeInvitation,
} from "../identity/invitations.ts";
import type { PasswordHasher } from "../identity/password.ts";
import { openSession } from "../identity/sessions.ts";
import type { Tokens } from "../identity/tokens.ts";
import type { Pool } from "../lib/postgres.ts";
import { tokenFields } from "./auth.ts";
import { bearer, errorAnswers, idParams, nothing, nullable, time, uuid } from "./identity-schemas.ts";
import { showUser } from "./users.ts";

export interface InvitationRouteDeps extends Omit<InvitationDeps, "db"> {
  identityDb: Pool;
  hasher: PasswordHasher;
  tokens: Tokens;
}

/** `/v1/invitations` and their acceptance: how people are let in where registration is closed. */
export function invitationRoutes(app: App, deps: InvitationRouteDeps): void {
  app.post(
    "/v1/invitations",
    {
      config: { access: { role: "admin", scope: "users:write" }, idempotent: true, shows: "all" },
      schema: {
        tags,
        security: bearer,
        summary: "Invite somebody",
        description:
          "The token creates one user with this address and role. Only this answer shows it; it is also " +
          "mailed when SMTP_URL is set.",
        body: Type.Object(
          {
            email: credentialFields.email,
            role: roleName,
            expires_in: Type.Optional(
              Type.Integer({ minimum: 60, maximum: 30 * 86_400, description: "Seconds; default 7 days" }),
            ),
          },
          { additionalProperties: false },
        ),
        response: {
          201: Type.Object({
            ...invitationResource.properties,
            token: Type.String(),
            url: Type.String({
              description: "The page that accepts the token: send this address to the invited person",
            }),
            mailed: Type.Boolean({ description: "Whether the hub sends it by mail" }),
          }),
          ...errorAnswers(400, 401, 403, 409),
        },
      },
    },
    async ({ principal, db, body: { expires_in, ...body } }, reply) => {
      const input = expires_in === undefined ? body : { ...body, expiresInSeconds: expires_in };
      const { token, url, is_mailed, ...invitation } = await invite({ ...deps, db }, principal, input);
      reply.header("cache-control", "no-store");
      return reply.status(201).send({ ...showInvitation(invitation), token, url, mailed: is_mailed });
    },
  );

  app.get(
    "/v1/invitations",
    {
      config: { access: { role: "admin", scope: "users:read" } },
      schema: {
        tags,
        security: bearer,
        summary: "List invitations",
        description: "Those that were neither accepted nor revoked; expired ones are kept 30 days.",
        querystring: pageQuery,
        response: { 200: pageOf(invitationResource), ...errorAnswers(400, 401, 403) },
      },
    },
    async ({ principal, db, query: { limit = 50, cursor } }) => {
      const rows = await listInvitations(db, principal.workspaceId, { limit, after: decodeCursor(cursor) });
      return toPage(rows, limit, showInvitation, (row) => ({ at: row.created_at, id: row.invitation_id }));
    },
  );

  app.delete(
    "/v1/invitations/:id",
    {
      config: { access: { role: "admin", scope: "users:write" } },
      schema: {
        tags,
        security: bearer,
        summary: "Revoke an invitation",
        params: idParams,
        response: { 204: nothing, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }, reply) => {
      await revokeInvitation({ ...deps, db }, principal, params.id);
      return reply.status(204).send(null);
    },
  );

  app.post(
    "/auth/invitations/accept",
    {
      config: { access: "public", idempotent: { by: "username" }, admission: "always" },
      schema: {
        tags: ["Identity"],
        security: [],
        summary: "Accept an invitation",
        description: "Makes the user and logs it in, also where registration is closed.",
        body: Type.Object(
          {
            token: Type.String({ minLength: 1, maxLength: 100 }),
            username: credentialFields.username,
            password: credentialFields.password,
            display_name: Type.Optional(displayName),
          },
          { additionalProperties: false },
        ),
        response: { 201: Type.Object({ user: userResource, ...tokenFields }), ...errorAnswers(400, 401, 409, 503) },
      },
    },
    async (request, reply) => {
      reply.header("cache-control", "no-store");
      const { display_name: displayName, ...body } = request.body;
      const identity = { ...deps, db: deps.identityDb };
      const origin = originOf(request);
      const user = await acceptInvitation(identity, origin, { ...body, displayName });
      const tokens = await openSession(identity, { userId: user.user_id, origin, method: "invitation" });
      return reply.status(201).send({ user: showUser(user), ...tokens });
    },
  );
}

const tags = ["Users"];

const invitationResource = Type.Object({
  invitation_id: uuid,
  email: Type.String(),
  role: roleName,
  invited_by: uuid,
  made_by_key_id: nullable({ ...uuid, description: "The API key by which it was made; null for a logged-in user" }),
  expires_at: time,
  created_at: time,
});

function showInvitation({ expires_at, created_at, ...invitation }: Invitation) {
  return { ...invitation, expires_at: expires_at.toISOString(), created_at: created_at.toISOString() };
}
