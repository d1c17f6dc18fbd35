import { invitationAcceptance, invitations } from "../../../contract/src/invitations.ts";
import { openSession, type Tokens } from "../credentials/credentials.ts";
import type { IdentityDb } from "../database-roles.ts";
import type { App } from "../http/app.ts";
import { decodeCursor, toPage } from "../http/pages.ts";
import { route } from "../http/route.ts";
import { originOf } from "../http/server.ts";
import type { PasswordHasher } from "../log-in/log-in.ts";
import {
  acceptInvitation,
  type Invitation,
  type InvitationDeps,
  invite,
  listInvitations,
  revokeInvitation,
} from "../users/users.ts";
import { keepOutOfCaches } from "./auth.ts";
import { showUser } from "./users.ts";

interface InvitationRouteDeps extends Omit<InvitationDeps, "db"> {
  identityDb: IdentityDb;
  hasher: PasswordHasher;
  tokens: Tokens;
}

export function invitationRoutes(app: App, deps: InvitationRouteDeps): void {
  route(app, invitations.createInvitation, async ({ principal, db, body: { expires_in, ...body } }, reply) => {
    const input = expires_in === undefined ? body : { ...body, expiresInSeconds: expires_in };
    const { token, url, is_mailed, ...invitation } = await invite({ ...deps, db }, principal, input);
    keepOutOfCaches(reply);
    return { ...showInvitation(invitation), token, url, mailed: is_mailed };
  });

  route(app, invitations.listInvitations, async ({ principal, db, query: { limit = 50, cursor } }) => {
    const rows = await listInvitations(db, principal.workspaceId, { limit, after: decodeCursor(cursor) });
    return toPage(rows, limit, showInvitation, (row) => ({ at: row.created_at, id: row.invitation_id }));
  });

  route(app, invitations.revokeInvitation, ({ principal, db, params }) =>
    revokeInvitation({ ...deps, db }, principal, params.id),
  );

  route(app, invitationAcceptance.acceptInvitation, async (request, reply) => {
    keepOutOfCaches(reply);
    const { display_name: displayName, ...body } = request.body;
    const identity = { ...deps, db: deps.identityDb };
    const origin = originOf(request);
    const user = await acceptInvitation(identity, origin, { ...body, displayName });
    const tokens = await openSession(identity, { userId: user.user_id, origin, method: "invitation" });
    return { user: showUser(user), ...tokens };
  });
}

function showInvitation({ expires_at, created_at, ...invitation }: Invitation) {
  return { ...invitation, expires_at: expires_at.toISOString(), created_at: created_at.toISOString() };
}
