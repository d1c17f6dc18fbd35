/**
 * The authorization matrix: each route of the hub's own OpenAPI document, as every caller that must be refused and as
 * every caller that must not. What is expected is in `authorization-table.ts`; a route without a row there fails, and
 * so does a row without a route.
 */
import assert from "node:assert/strict";
import { request } from "node:http";
import { before, describe, test } from "node:test";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { authorizationTable, type Given, openPages, type Request, type Row } from "./src/authorization-table.ts";
import { openKeys, type Refused, refusedCredentials } from "./src/callers.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { changedTables, type Owner, openOwner, quiet, takeSnapshot } from "./src/owned-rows.ts";
import { bodyOf } from "./src/request-of-table.ts";
import { keptThings, newThings, type Things } from "./src/things.ts";
import { anotherWorkspace, firstWorkspace, newUser, openReceiver, type Workspace } from "./src/workspace.ts";

const opened = closeAfterTests();
let hub: TestHub;
let owner: Owner;
let home: Workspace;
let abroad: Workspace;
/** Ids that stay, for calls that must not change them. */
let kept: Things;
let fresh: Things;
let refused: Refused[];
let keys: ReturnType<typeof openKeys>;
let strangersKey: string;

before(async () => {
  hub = opened.use(await startTestHub({ env: { WEBHOOKS_ALLOW_PRIVATE: "true" } }));
  owner = opened.use(await openOwner(hub.databaseUrl));
  const receiver = opened.use(await openReceiver());
  [home, abroad] = [await firstWorkspace(hub), await anotherWorkspace(hub)];
  fresh = newThings(home, receiver.url);
  kept = keptThings(fresh);
  refused = await refusedCredentials(home);
  keys = openKeys(home);
  strangersKey = await openKeys(abroad).all();
});

const routes = Object.entries(authorizationTable).map(([route, row]) => ({ route, row }));
const closed = routes.filter(({ row }) => row.access !== "public");

test("every route of the hub has a row in the table, and every row a route", async () => {
  const { paths } = (await (await fetch(`${hub.url}/openapi.json`)).json()) as { paths: Record<string, object> };
  const documented = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  assert.ok(documented.length > 50);
  assert.deepEqual(documented.sort(), Object.keys(authorizationTable).sort());
});

describe("callers without access are refused, and nothing changes", () => {
  before(async () => {
    // Everything that the calls name is there before the first of them, and at rest.
    for (const { row } of closed) await row.call?.(givenBy(home.member.userId, kept));
    for (const { row } of closed) await Promise.all([keys.all(), ...keysOf(row)]);
    await quiet(hub, owner);
  });

  for (const { route, row } of closed) {
    test(route, async () => {
      const request = await row.call!(givenBy(home.member.userId, kept));
      await quiet(hub, owner);
      const before = await takeSnapshot(owner);
      for (const { name, authorization, code } of refused) {
        await expect(route, request, authorization, { status: 401, code }, name);
      }
      for (const [name, authorization] of await tooWeak(row)) {
        await expect(route, request, `Bearer ${authorization}`, { status: 403, code: "FORBIDDEN" }, name);
      }
      assert.deepEqual(changedTables(before, await takeSnapshot(owner)), [], "a refused call changed something");
      await expectForeign(route, request, row);
      if (row.stranger === "own") return;
      assert.deepEqual(changedTables(before, await takeSnapshot(owner)), [], "a stranger's call changed something");
    });
  }
});

describe("callers with access get a response", () => {
  for (const { route, row } of routes) {
    test(route, async () => {
      if (row.access === "public") return expectOpen(route, row);
      const { role, scope, session } = row.access;
      const caller = session ? await newUser(hub, home.admin, role) : home[role];
      const request = await row.call!(givenBy(caller.userId, fresh));
      await expect(route, request, `Bearer ${caller.token}`, { status: row.answer }, `a user with the role ${role}`);
      const key = scope === undefined ? await keys.all() : await keys.with(...[scope].flat());
      const again = await row.call!(givenBy(home.admin.userId, fresh));
      const answer = session ? { status: 403, code: "FORBIDDEN" } : { status: row.toKeys ?? row.answer };
      await expect(route, again, `Bearer ${key}`, answer, "an API key with the scope");
    });
  }

  test("the public pages", async () => {
    for (const page of openPages) assert.equal((await fetch(hub.url + page)).status, 200, page);
  });
});

test("no other method and no other spelling of a path avoids the credential", async () => {
  for (const { route } of closed) {
    const [method, template] = route.split(" ") as [string, string];
    const path = template.replaceAll(/\{\w+\}/g, home.workspaceId);
    const [first, ...rest] = path.slice(1).split("/") as [string, ...string[]];
    const spellings = [
      `${path}/`,
      `/${path}`,
      `${path}//`,
      `/${first.toUpperCase()}/${rest.join("/")}`,
      `/x/..${path}`,
      `/%2e${path}`,
      `/${first}%2f${rest.join("%2f")}`,
      `/${first}/${rest.map((part) => `%${part.charCodeAt(0).toString(16)}${part.slice(1)}`).join("/")}`,
      `${path};a=b`,
      `${path}%00`,
      `${path}?`,
      `${path}.json`,
    ];
    for (const spelling of spellings) {
      for (const asked of [method, ...(method === "GET" ? ["HEAD"] : [])]) {
        const status = await statusOf(asked, spelling);
        // 405: the path belongs to another route, as `addresses/verify;a=b` is the path of an address.
        assert.ok([400, 401, 404, 405].includes(status), `${asked} ${spelling} got ${status}`);
      }
    }
    for (const asked of ["HEAD", "PUT", "TRACE", "PROPFIND"].filter((one) => one !== method)) {
      const status = await statusOf(asked, path, { "x-http-method-override": method });
      assert.ok([400, 401, 404, 405, 501].includes(status), `${asked} ${path} got ${status}`);
    }
  }
});

/** As it is written: `fetch` would tidy it up. */
function statusOf(method: string, path: string, headers: Record<string, string> = {}): Promise<number> {
  const { hostname: host, port } = new URL(hub.url);
  return new Promise((resolve, reject) => {
    const asking = request({ host, port, method, path, headers }, (answer) => {
      answer.resume().on("end", () => resolve(answer.statusCode!));
    });
    asking.on("error", reject).end();
  });
}

function keysOf({ access }: Row): Promise<string>[] {
  if (access === "public" || access.scope === undefined) return [];
  const scopes = [access.scope].flat();
  return [keys.with(...scopes), ...scopes.map((scope) => keys.without(scope))];
}

function givenBy(userId: string, things: Things): Given {
  return { workspace: home, things, userId };
}

/** Those of the workspace who are known, and may not. */
async function tooWeak({ access }: Row): Promise<[name: string, token: string][]> {
  if (access === "public") return [];
  const roles = ["member", "agent", "admin"] as const;
  const lower = roles.slice(0, roles.indexOf(access.role));
  const weak = lower.map((role): [string, string] => [`a user with the role ${role}`, home[role].token]);
  for (const scope of [access.scope ?? []].flat()) {
    weak.push([`an API key without ${scope}`, await keys.without(scope)]);
  }
  if (access.session) weak.push(["an API key", await keys.all()]);
  return weak;
}

/** Those who may do as much in their own workspace, or in conversations of their own. */
async function expectForeign(route: string, request: Request, { stranger, outsider }: Row): Promise<void> {
  const isRead = route.startsWith("GET ");
  if (stranger !== "own" || isRead) {
    const status = stranger === "own" ? 200 : stranger!;
    for (const token of [abroad.admin.token, strangersKey]) {
      const said = await expect(route, request, `Bearer ${token}`, { status }, "an admin of another workspace");
      await expectNothingOf(home, said, request);
    }
  }
  if (outsider === undefined) return;
  const said = await expect(route, request, `Bearer ${home.outsider.token}`, { status: outsider }, "an outsider");
  if (outsider === 200) assert.match(said, /RESOURCE_NOT_FOUND/);
}

/** No id of the workspace's people and things is in the response to a caller who did not name it. */
async function expectNothingOf(workspace: Workspace, said: string, request: Request): Promise<void> {
  const { workspaceId, admin, agent, member, outsider } = workspace;
  const things = await Promise.all(Object.values(kept).map((thing) => thing()));
  const ids = [workspaceId, ...[admin, agent, member, outsider].map(({ userId }) => userId), ...things.flatMap(idsIn)];
  const named = JSON.stringify(request);
  for (const id of ids) assert.ok(named.includes(id) || !said.includes(id), `the response shows ${id}: ${said}`);
}

function idsIn(thing: string | { id: string; attempt_id: string }): string[] {
  return typeof thing === "string" ? [thing] : [thing.id, thing.attempt_id];
}

async function expectOpen(route: string, row: Row): Promise<void> {
  const request = (await row.call?.(givenBy(home.member.userId, fresh))) ?? {};
  const said = await expect(route, request, null, { status: row.answer }, "public");
  assert.doesNotMatch(said, /AUTH_REQUIRED/);
  if (row.answer === 401) assert.match(said, /AUTH_INVALID|AUTH_EXPIRED/);
}

/** Calls, and returns the response. */
async function expect(
  route: string,
  { params = {}, query = {}, ...request }: Request,
  authorization: string | null,
  expected: { status: number; code?: string },
  who: string,
): Promise<string> {
  const [method, path] = route.split(" ") as [string, string];
  const filled = path.replaceAll(/\{(\w+)\}/g, (_all, name: string) => encodeURIComponent(params[name]!));
  const search = Object.keys(query).length === 0 ? "" : `?${new URLSearchParams(query)}`;
  const { body, contentType } = await bodyOf(request);
  const answer = await fetch(hub.url + filled + search, {
    method,
    redirect: "manual",
    headers: {
      ...(authorization === null ? {} : { authorization }),
      ...(contentType === undefined ? {} : { "content-type": contentType }),
    },
    ...(body === undefined ? {} : { body }),
  });
  const said = await answer.text();
  assert.equal(answer.status, expected.status, `${route} by ${who} got ${answer.status}: ${said}`);
  if (expected.code !== undefined) assert.equal(JSON.parse(said).error.code, expected.code, `${route} by ${who}`);
  return said;
}
