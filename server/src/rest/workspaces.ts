import { Type } from "typebox";
import { decodeCursor, pageOf, pageQuery, toPage } from "../http/pages.ts";
import type { App } from "../http/server.ts";
import type { UserDeps } from "../identity/users.ts";
import { createWorkspace, listWorkspaces, requireFirstWorkspace, type Workspace } from "../identity/workspaces.ts";
import { bearer, credentialFields, errorAnswers, line, time, uuid } from "./identity-schemas.ts";

/** `/v1/workspaces`: for admins of the hub's first workspace. */
export function workspaceRoutes(app: App, deps: UserDeps): void {
  app.post(
    "/v1/workspaces",
    {
      config: { access: { role: "admin", scope: "workspaces:write" }, idempotent: true, shows: "all" },
      schema: {
        tags,
        security: bearer,
        summary: "Make a workspace and its first admin",
        body: Type.Object(
          { name: line(200), admin: Type.Object(credentialFields, { additionalProperties: false }) },
          { additionalProperties: false },
        ),
        response: { 201: workspaceResource, ...errorAnswers(400, 401, 403, 409, 503) },
      },
    },
    async (request, reply) => {
      await requireFirstWorkspace(deps.db, request.principal);
      return reply.status(201).send(showWorkspace(await createWorkspace(deps, request.principal, request.body)));
    },
  );

  app.get(
    "/v1/workspaces",
    {
      config: { access: { role: "admin", scope: "workspaces:read" } },
      schema: {
        tags,
        security: bearer,
        summary: "List workspaces",
        querystring: pageQuery,
        response: { 200: pageOf(workspaceResource), ...errorAnswers(400, 401, 403) },
      },
    },
    async (request) => {
      await requireFirstWorkspace(deps.db, request.principal);
      const { limit = 50, cursor } = request.query;
      const rows = await listWorkspaces(deps.db, { limit, after: decodeCursor(cursor) });
      return toPage(rows, limit, showWorkspace, (row) => ({ at: row.created_at, id: row.workspace_id }));
    },
  );
}

const tags = ["Workspaces"];

const workspaceResource = Type.Object({ workspace_id: uuid, name: Type.String(), created_at: time });

function showWorkspace({ workspace_id, name, created_at }: Workspace) {
  return { workspace_id, name, created_at: created_at.toISOString() };
}
