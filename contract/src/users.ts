import { Type } from "typebox";
import { roles } from "./access.ts";
import { operations } from "./operation.ts";
import { closed, line, maxSearchLength, named, pageOf, pageQuery, time, uuid, visibleFormat } from "./schemas.ts";

/** What a username may be: ASCII, so that no two look the same. */
export const usernamePattern = "^[A-Za-z0-9][A-Za-z0-9._-]{2,49}$";

const username = Type.String({
  pattern: usernamePattern,
  description: "3 to 50 of a–z, 0–9, dot, dash and underscore. Unique in the hub, ignoring case.",
});

export const email = Type.String({ format: "email", maxLength: 254 });

export const newPassword = Type.String({
  minLength: 8,
  maxLength: 256,
  format: visibleFormat,
  description: "8 to 256 characters, at least one of them visible.",
});

/** With what a user is created. The hub sets the role and the like. */
export const credentialFields = { username, email, password: newPassword };

export const displayName = line(200);

export const UserRole = named(
  "Role",
  Type.Enum([...roles], {
    description:
      "A member sees the conversations that it is in; an agent sees all conversations of the workspace. An admin may do everything in its workspace.",
  }),
);

export const User = named(
  "User",
  Type.Object({
    user_id: uuid,
    workspace_id: uuid,
    username: Type.String(),
    email: Type.String(),
    display_name: Type.String(),
    role: UserRole,
    disabled: Type.Boolean(),
    created_at: time,
  }),
  {
    user_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c",
    workspace_id: "0192f5c4-0000-7000-8000-000000000001",
    username: "bruno",
    email: "bruno@example.com",
    display_name: "Bruno Lima",
    role: "agent",
    disabled: false,
    created_at: "2026-11-29T12:00:00.000Z",
  },
);

export const addressList = Type.Array(Type.String(), {
  description: "Addresses on channels, in the order in which they are tried.",
});

const UserDetails = named("UserDetails", Type.Object({ ...User.properties, addresses: Type.Optional(addressList) }));

const NewUser = named(
  "NewUser",
  Type.Object({ ...credentialFields, role: UserRole, display_name: Type.Optional(displayName) }, closed),
  {
    username: "bruno",
    email: "bruno@example.com",
    password: "correct horse battery staple",
    role: "agent",
    display_name: "Bruno Lima",
  },
);

const UserChange = named(
  "UserChange",
  Type.Object(
    {
      role: Type.Optional(UserRole),
      display_name: Type.Optional(displayName),
      disabled: Type.Optional(Type.Boolean()),
    },
    closed,
  ),
  { role: "admin" },
);

const read = { role: "agent", scope: "users:read" } as const;
const write = { role: "admin", scope: "users:write" } as const;

export const users = operations("Users", {
  listUsers: {
    method: "GET",
    path: "/v1/users",
    summary: "List users, newest first",
    access: read,
    query: Type.Object(
      {
        ...pageQuery,
        query: Type.Optional(
          Type.String({
            ...line(maxSearchLength),
            description:
              "Part of the username, email address or display name, ignoring case, accents and Unicode composition. " +
              "503 `SEARCH_TIMEOUT` after 2 s.",
          }),
        ),
      },
      closed,
    ),
    answers: { 200: pageOf(User) },
  },
  createUser: {
    method: "POST",
    path: "/v1/users",
    summary: "Create a user",
    description: "409 when the username or the email address is taken.",
    access: write,
    idempotent: true,
    shows: "all",
    body: NewUser,
    answers: { 201: User },
  },
  getUser: {
    method: "GET",
    path: "/v1/users/{id}",
    summary: "Get a user",
    description: "Only admins and the user see `addresses`.",
    access: read,
    answers: { 200: UserDetails },
  },
  updateUser: {
    method: "PATCH",
    path: "/v1/users/{id}",
    summary: "Update a user",
    description:
      "`disabled: true` ends the sessions of the user and stops the API keys that the user made. The last admin of a workspace " +
      "can be neither disabled nor demoted (409).",
    access: write,
    body: UserChange,
    answers: { 200: User },
    errors: [409],
  },
  deleteUser: {
    method: "DELETE",
    path: "/v1/users/{id}",
    summary: "Delete a user",
    description:
      "Permanent: removes the name, email address, password and API keys of the user, and frees the username. Messages of the user " +
      "remain, under the name “Deleted user”. To lock a user out for a time, disable the user.",
    access: write,
    answers: { 204: null },
    errors: [409],
  },
});
