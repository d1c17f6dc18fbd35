import { workspaces } from "../../../contract/src/workspaces.ts";
import type { IdentityDb } from "../database-roles.ts";
import type { App } from "../http/app.ts";
import { decodeCursor, toPage } from "../http/pages.ts";
import { route } from "../http/route.ts";
import type { Clock } from "../lib/clock.ts";
import type { PasswordHasher } from "../log-in/log-in.ts";
import { createWorkspace, listWorkspaces, requireFirstWorkspace, type Workspace } from "../users/users.ts";

export function workspaceRoutes(app: App, deps: { db: IdentityDb; clock: Clock; hasher: PasswordHasher }): void {
  route(app, workspaces.createWorkspace, async ({ principal, body }) => {
    await requireFirstWorkspace(deps.db, principal);
    return showWorkspace(await createWorkspace(deps, principal, body));
  });

  route(app, workspaces.listWorkspaces, async ({ principal, query: { limit = 50, cursor } }) => {
    await requireFirstWorkspace(deps.db, principal);
    const rows = await listWorkspaces(deps.db, { limit, after: decodeCursor(cursor) });
    return toPage(rows, limit, showWorkspace, (row) => ({ at: row.created_at, id: row.workspace_id }));
  });
}

function showWorkspace({ workspace_id, name, created_at }: Workspace) {
  return { workspace_id, name, created_at: created_at.toISOString() };
}
