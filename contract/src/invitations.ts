import { Type } from "typebox";
import { LoggedInUser } from "./auth.ts";
import { operations } from "./operation.ts";
import { closed, named, nullable, pageOf, pageQuery, time, uuid } from "./schemas.ts";
import { credentialFields, displayName, email, UserRole } from "./users.ts";

const Invitation = named(
  "Invitation",
  Type.Object({
    invitation_id: uuid,
    email: Type.String(),
    role: UserRole,
    invited_by: uuid,
    made_by_key_id: nullable(uuid, {
      description: "The API key that created the invitation. Null when a logged-in user created it.",
    }),
    expires_at: time,
    created_at: time,
  }),
  {
    invitation_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c",
    email: "bruno@example.com",
    role: "agent",
    invited_by: "0192f5c4-6a10-7c21-8d4e-3b2a1c0d9e8f",
    made_by_key_id: null,
    expires_at: "2026-12-06T12:00:00.000Z",
    created_at: "2026-11-29T12:00:00.000Z",
  },
);

const NewInvitation = named(
  "NewInvitation",
  Type.Object(
    {
      email,
      role: UserRole,
      expires_in: Type.Optional(
        Type.Integer({ minimum: 60, maximum: 30 * 86_400, description: "In seconds. Default: 7 days." }),
      ),
    },
    closed,
  ),
  { email: "bruno@example.com", role: "agent" },
);

const CreatedInvitation = named(
  "CreatedInvitation",
  Type.Object({
    ...Invitation.properties,
    token: Type.String(),
    url: Type.String({ description: "The page that accepts the token. Send this URL to the invited person." }),
    mailed: Type.Boolean({ description: "Whether the hub sends it by email." }),
  }),
);

const { username, password } = credentialFields;

const InvitationAcceptance = named(
  "InvitationAcceptance",
  Type.Object(
    {
      token: Type.String({ minLength: 1, maxLength: 100 }),
      username,
      password,
      display_name: Type.Optional(displayName),
    },
    closed,
  ),
  { token: "c4i_5rYbq2t8Zk1", username: "bruno", password: "correct horse battery staple" },
);

const write = { role: "admin", scope: "users:write" } as const;

export const invitations = operations("Users", {
  createInvitation: {
    method: "POST",
    path: "/v1/invitations",
    summary: "Invite a person",
    description:
      "The token creates one user with this email address and role. Only this response shows it. With `SMTP_URL` set, the hub " +
      "also emails it.",
    access: write,
    idempotent: true,
    shows: "all",
    body: NewInvitation,
    answers: { 201: CreatedInvitation },
  },
  listInvitations: {
    method: "GET",
    path: "/v1/invitations",
    summary: "List invitations, newest first",
    description: "Those that were neither accepted nor revoked. Expired ones are kept for 30 days.",
    access: { role: "admin", scope: "users:read" },
    query: Type.Object(pageQuery, closed),
    answers: { 200: pageOf(Invitation) },
  },
  revokeInvitation: {
    method: "DELETE",
    path: "/v1/invitations/{id}",
    summary: "Revoke an invitation",
    access: write,
    answers: { 204: null },
  },
});

export const invitationAcceptance = operations("Authentication", {
  acceptInvitation: {
    method: "POST",
    path: "/auth/invitations/accept",
    summary: "Accept an invitation",
    description: "Creates the user and logs the user in, even if registration is closed.",
    access: "public",
    admission: "always",
    idempotent: { by: "username" },
    body: InvitationAcceptance,
    answers: { 201: LoggedInUser },
    errors: [401],
  },
});
