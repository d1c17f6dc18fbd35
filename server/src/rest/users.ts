import { users } from "../../../contract/src/users.ts";
import { readAddresses } from "../contacts/contacts.ts";
import { type Forget, hasRole } from "../credentials/credentials.ts";
import type { App } from "../http/app.ts";
import { decodeCursor, toPage } from "../http/pages.ts";
import { route } from "../http/route.ts";
import { deleteLogInMethods } from "../log-in/log-in.ts";
import { createUser, deleteUser, getUser, listUsers, type User, type UserDeps, updateUser } from "../users/users.ts";
import { withinSearchLimit } from "./search.ts";

export function userRoutes(app: App, deps: Omit<UserDeps, "db"> & Forget): void {
  route(app, users.listUsers, async ({ principal, db, query: { limit = 50, cursor, query } }) => {
    const page = { limit, query, after: decodeCursor(cursor) };
    const rows =
      query === undefined
        ? await listUsers(db, principal.workspaceId, page)
        : await withinSearchLimit(db, (tx) => listUsers(tx, principal.workspaceId, page));
    return toPage(rows, limit, showUser, (row) => ({ at: row.created_at, id: row.user_id }));
  });

  route(app, users.getUser, async ({ principal, db, params }) => {
    const user = await getUser(db, { workspaceId: principal.workspaceId, userId: params.id });
    const areAddressesShown = hasRole(principal, "admin") || user.user_id === principal.userId;
    return { ...showUser(user), ...(areAddressesShown && { addresses: await readAddresses(db, user.user_id) }) };
  });

  route(app, users.createUser, async ({ principal, db, body: { display_name: displayName, ...body } }) =>
    showUser(await createUser({ ...deps, db }, principal, { ...body, displayName })),
  );

  route(app, users.updateUser, async ({ principal, db, params, body }) => {
    const changes = { role: body.role, displayName: body.display_name, isDisabled: body.disabled };
    return showUser(await updateUser({ ...deps, db }, principal, params.id, changes));
  });

  route(app, users.deleteUser, ({ principal, db, params }) =>
    deleteUser({ ...deps, db, deleteLogInMethods }, principal, params.id),
  );
}

export function showUser(user: User) {
  const { user_id, workspace_id, username, email, display_name, role } = user;
  const disabled = user.disabled_at !== null;
  const created_at = user.created_at.toISOString();
  return { user_id, workspace_id, username, email, display_name, role, disabled, created_at };
}
