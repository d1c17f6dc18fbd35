import { Type } from "typebox";
import { operations } from "./operation.ts";
import { closed, line, named, pageOf, pageQuery, time, uuid } from "./schemas.ts";
import { credentialFields } from "./users.ts";

const Workspace = named("Workspace", Type.Object({ workspace_id: uuid, name: Type.String(), created_at: time }), {
  workspace_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c",
  name: "Padaria do Bairro",
  created_at: "2026-11-29T12:00:00.000Z",
});

const NewWorkspace = named(
  "NewWorkspace",
  Type.Object({ name: line(200), admin: Type.Object(credentialFields, closed) }, closed),
  {
    name: "Padaria do Bairro",
    admin: { username: "carla", email: "carla@example.com", password: "correct horse battery staple" },
  },
);

export const workspaces = operations("Workspaces", {
  createWorkspace: {
    method: "POST",
    path: "/v1/workspaces",
    summary: "Create a workspace and its first admin",
    description: "Only for admins of the hub's first workspace.",
    access: { role: "admin", scope: "workspaces:write" },
    idempotent: true,
    shows: "all",
    body: NewWorkspace,
    answers: { 201: Workspace },
  },
  listWorkspaces: {
    method: "GET",
    path: "/v1/workspaces",
    summary: "List workspaces, newest first",
    description: "Only for admins of the hub's first workspace.",
    access: { role: "admin", scope: "workspaces:read" },
    query: Type.Object(pageQuery, closed),
    answers: { 200: pageOf(Workspace) },
  },
});
