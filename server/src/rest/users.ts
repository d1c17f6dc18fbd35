import { Type } from "typebox";
import { maxSearchLength } from "../../../contract/src/schemas.ts";
import { readAddresses } from "../contacts/contacts.ts";
import { decodeCursor, pageOf, pageQuery, toPage } from "../http/pages.ts";
import type { App } from "../http/server.ts";
import type { Authenticator } from "../identity/authenticate.ts";
import { hasRole } from "../identity/principal.ts";
import { createUser, deleteUser, getUser, listUsers, type UserDeps, updateUser } from "../identity/users.ts";
import {
  bearer,
  credentialFields,
  displayName,
  errorAnswers,
  idParams,
  line,
  nothing,
  roleName,
  showUser,
  userAddressList,
  userResource,
} from "./identity-schemas.ts";
import { withinSearchLimit } from "./search.ts";

/** `/v1/users`: who can log in to the caller's workspace. Agents see them, admins rule them. */
export function userRoutes(app: App, deps: Omit<UserDeps, "db"> & Pick<Authenticator, "forget">): void {
  app.get(
    "/v1/users",
    {
      config: { access: { role: "agent", scope: "users:read" } },
      schema: {
        tags,
        security: bearer,
        summary: "List users",
        querystring: Type.Object(
          {
            ...pageQuery.properties,
            query: Type.Optional(
              Type.String({
                ...line(maxSearchLength),
                description:
                  "A part of the username, the e-mail address or the display name, in any case, with or without accents, however " +
                  "letters are composed. 503 SEARCH_TIMEOUT when it takes longer than 2 s.",
              }),
            ),
          },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(userResource), ...errorAnswers(400, 401, 403, 503) },
      },
    },
    async ({ principal, db, query: { limit = 50, cursor, query } }) => {
      const page = { limit, query, after: decodeCursor(cursor) };
      const rows =
        query === undefined
          ? await listUsers(db, principal.workspaceId, page)
          : await withinSearchLimit(db, (tx) => listUsers(tx, principal.workspaceId, page));
      return toPage(rows, limit, showUser, (row) => ({ at: row.created_at, id: row.user_id }));
    },
  );

  app.get(
    "/v1/users/:id",
    {
      config: { access: { role: "agent", scope: "users:read" } },
      schema: {
        tags,
        security: bearer,
        summary: "Get a user",
        description: "`addresses` is for admins, and for the user.",
        params: idParams,
        response: {
          200: Type.Object({ ...userResource.properties, addresses: Type.Optional(userAddressList) }),
          ...errorAnswers(400, 401, 403, 404),
        },
      },
    },
    async ({ principal, db, params }) => {
      const user = await getUser(db, { workspaceId: principal.workspaceId, userId: params.id });
      const areAddressesShown = hasRole(principal, "admin") || user.user_id === principal.userId;
      return { ...showUser(user), ...(areAddressesShown && { addresses: await readAddresses(db, user.user_id) }) };
    },
  );

  app.post(
    "/v1/users",
    {
      config: { access: { role: "admin", scope: "users:write" }, idempotent: true, shows: "all" },
      schema: {
        tags,
        security: bearer,
        summary: "Make a user",
        body: Type.Object(
          { ...credentialFields, role: roleName, display_name: Type.Optional(displayName) },
          { additionalProperties: false },
        ),
        response: { 201: userResource, ...errorAnswers(400, 401, 403, 409, 503) },
      },
    },
    async ({ principal, db, body: { display_name, ...body } }, reply) => {
      const input = { ...body, displayName: display_name };
      return reply.status(201).send(showUser(await createUser({ ...deps, db }, principal, input)));
    },
  );

  app.patch(
    "/v1/users/:id",
    {
      config: { access: { role: "admin", scope: "users:write" } },
      schema: {
        tags,
        security: bearer,
        summary: "Change a user",
        description:
          "`disabled: true` ends the user's sessions and silences the API keys that the user made. " +
          "The last admin of a workspace can be neither disabled nor demoted (409).",
        params: idParams,
        body: Type.Object(
          {
            role: Type.Optional(roleName),
            display_name: Type.Optional(displayName),
            disabled: Type.Optional(Type.Boolean()),
          },
          { additionalProperties: false },
        ),
        response: { 200: userResource, ...errorAnswers(400, 401, 403, 404, 409) },
      },
    },
    async ({ principal, db, params, body }) => {
      const changes = { role: body.role, displayName: body.display_name, isDisabled: body.disabled };
      return showUser(await updateUser({ ...deps, db }, principal, params.id, changes));
    },
  );

  app.delete(
    "/v1/users/:id",
    {
      config: { access: { role: "admin", scope: "users:write" } },
      schema: {
        tags,
        security: bearer,
        summary: "Delete a user",
        description:
          "For good: the user's name, address, password and keys are removed, and the username is free again. " +
          "What the user wrote stays, under the name “Deleted user”. To lock somebody out for a time, disable them.",
        params: idParams,
        response: { 204: nothing, ...errorAnswers(400, 401, 403, 404, 409) },
      },
    },
    async ({ principal, db, params }, reply) => {
      await deleteUser({ ...deps, db }, principal, params.id);
      return reply.status(204).send(null);
    },
  );
}

const tags = ["Users"];
