import { authorizationTable, type Request } from "./authorization-table.ts";
import type { Things } from "./things.ts";
import { newUser, type Workspace } from "./workspace.ts";

export interface Sent {
  url: string;
  method: string;
  headers: Record<string, string>;
  body?: string;
}

/** The valid request of the table to a hub at `url`, by a caller who may make it. */
export async function requestOfTable(
  route: string,
  { url, workspace, things }: { url: string; workspace: Workspace; things: Things },
): Promise<Sent> {
  const { hub, admin } = workspace;
  const { call, access } = authorizationTable[route]!;
  const [method, template] = route.split(" ") as [string, string];
  const caller = route.startsWith("POST /auth/logout") ? await newUser(hub, admin, "member") : admin;
  const { params = {}, ...request } = (await call?.({ workspace, things, userId: admin.userId })) ?? {};
  const path = template.replaceAll(/\{(\w+)\}/g, (_all, name: string) => encodeURIComponent(params[name]!));
  const authorization: Record<string, string> = access === "public" ? {} : { authorization: `Bearer ${caller.token}` };
  const { body, contentType = "application/json" } = await bodyOf(request);
  const headers = { ...authorization, ...(method === "GET" ? {} : { "content-type": contentType }) };
  return { url: url + path, method, headers, ...(body === undefined ? {} : { body }) };
}

/** What is sent for a request of the table. */
export async function bodyOf({ body, form }: Request): Promise<{ body?: string; contentType?: string }> {
  if (form !== undefined) {
    const response = new Response(form());
    return { contentType: response.headers.get("content-type")!, body: await response.text() };
  }
  return body === undefined ? {} : { contentType: "application/json", body: JSON.stringify(body) };
}
