import { Type } from "typebox";
import { type Role, roles } from "../../../contract/src/access.ts";
import { line, nullable, visibleFormat } from "../../../contract/src/schemas.ts";
import { usernamePattern } from "../identity/username.ts";
import type { User } from "../identity/users.ts";

export { errorAnswers } from "../http/errors.ts";
export { line, nullable };

export const bearer = [{ bearer: [] }];

/** Answered with 204. */
export const nothing = Type.Null({ description: "Done; no body." });

export const uuid = Type.String({
  pattern: "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
  description: "A UUID",
});

export const idParams = Type.Object({ id: uuid });

export const time = Type.String({ format: "date-time" });

/** Which API keys of a user are revoked as well. `otherwise` describes the default and null. */
export function revokeApiKeysSince(otherwise: string) {
  const description =
    "API keys that the user made at this time or later are revoked, and so are invitations, password resets and webhook " +
    `endpoints; default: ${otherwise}`;
  return Type.Optional(nullable(Type.String({ format: "date-time", description })));
}

/** Of a user. */
export const userAddressList = Type.Array(Type.String(), {
  description: "Addresses on channels, in the order in which they are tried",
});

export const displayName = line(200);

const username = Type.String({
  pattern: usernamePattern,
  description: "3 to 50 of a–z, 0–9, dot, dash and underscore; unique in the hub, whatever the case",
});

/** How an account is made. `role` and the like are not here: the hub sets them. */
export const credentialFields = {
  username,
  email: Type.String({ format: "email", maxLength: 254 }),
  password: Type.String({ minLength: 8, maxLength: 256, format: visibleFormat }),
};

export const roleName = Type.Enum([...roles] as [Role, ...Role[]]);

export const userResource = Type.Object({
  user_id: uuid,
  workspace_id: uuid,
  username: Type.String(),
  email: Type.String(),
  display_name: Type.String(),
  role: roleName,
  disabled: Type.Boolean(),
  created_at: time,
});

export function showUser(user: User) {
  const { user_id, workspace_id, username, email, display_name, role } = user;
  const disabled = user.disabled_at !== null;
  const created_at = user.created_at.toISOString();
  return { user_id, workspace_id, username, email, display_name, role, disabled, created_at };
}
