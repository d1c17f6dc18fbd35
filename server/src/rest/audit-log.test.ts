import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { before, beforeEach, describe, test } from "node:test";
import { recordAuditEvent, systemOf } from "../audit/audit.ts";
import { transaction } from "../lib/postgres.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { adminPassword, type IdentityHub, startIdentityHub } from "../testing/identity-hub.ts";

interface Line {
  workspace_id: string;
  position: number;
  actor_kind: string;
  actor_id: string | null;
  action: string;
  target_type: string | null;
  target_id: string | null;
  details: Record<string, unknown>;
  ip: string | null;
  request_id: string | null;
}

let hub: IdentityHub;
let admin: { access_token: string; refresh_token: string; user_id: string };
const closing = closeAfterTests();
before(async () => {
  hub = closing.use(await startIdentityHub());
});
beforeEach(async () => {
  admin = await hub.logIn("admin");
});

const token = () => admin.access_token;

async function newest(): Promise<Line> {
  const { status, body } = await hub.call("GET /v1/audit-log?limit=1", { token: token() });
  assert.equal(status, 200);
  return body.data[0];
}

/** The records that an action adds to the log, oldest first. */
async function recordedBy(action: () => Promise<unknown>): Promise<Line[]> {
  const { position } = await newest();
  await action();
  const { body } = await hub.call("GET /v1/audit-log?limit=200", { token: token() });
  return (body.data as Line[]).filter((record) => record.position > position).reverse();
}

test("values that the database cannot store are rejected as invalid", async () => {
  const times = ["2016-12-31T23:59:60Z", "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z", "0000-12-31T00:00:00Z"];
  const queries = [...times.map((time) => `from=${time}`), "action=%00", "target_id=a%00"];
  for (const query of queries) {
    const { status, body } = await hub.call(`GET /v1/audit-log?${query}`, { token: token() });
    assert.deepEqual([status, body.error?.code], [400, "VALIDATION_ERROR"], query);
  }
  for (const query of ["from=2016-12-31T23:59:59.5Z&to=9999-12-31T23:59:59Z", "from=1900-01-01T00:00:00-03:00"]) {
    assert.equal((await hub.call(`GET /v1/audit-log?${query}`, { token: token() })).status, 200, query);
  }
});

async function makeUser(role = "agent") {
  const username = `user${Math.random().toString(36).slice(2, 10)}`;
  const user = { username, email: `${username}@example.com`, password: adminPassword, role };
  return { ...user, ...(await hub.call("POST /v1/users", { token: token(), body: user })).body };
}

describe("the audit log of a workspace", () => {
  test("holds every identity event once, with actor, target and address", async () => {
    const user = await makeUser();
    const path = `/v1/users/${user.user_id}`;
    const patch = (body: object) => hub.call(`PATCH ${path}`, { token: token(), body });
    const as = async (username: string) => (await hub.logIn(username)).access_token as string;
    let keyId = "";
    const actions: [string[], () => Promise<unknown>][] = [
      [["user.created"], () => makeUser()],
      [["user.role_changed"], () => patch({ role: "member" })],
      [[], () => patch({ role: "member", display_name: "Ana", disabled: false })],
      [["user.role_changed", "user.disabled"], () => patch({ role: "agent", disabled: true })],
      [["session.refused"], () => hub.logIn(user.username)],
      [["user.enabled"], () => patch({ disabled: false })],
      [["session.opened"], () => hub.logIn(user.username)],
      [["session.refused"], () => hub.logIn(user.username, "a wrong password")],
      [
        ["session.opened", "session.ended"],
        async () => hub.call("POST /auth/logout", { token: await as(user.username) }),
      ],
      [
        ["api_key.created"],
        async () => {
          const { body } = await hub.call("POST /v1/api-keys", {
            token: token(),
            body: { name: "k", scopes: ["users:read"] },
          });
          keyId = body.api_key_id;
        },
      ],
      [["api_key.revoked"], () => hub.call(`DELETE /v1/api-keys/${keyId}`, { token: token() })],
      [[], () => hub.call(`DELETE /v1/api-keys/${keyId}`, { token: token() })],
      [["llm_api_key.set"], () => hub.call("PATCH /v1/me", { token: token(), body: { llm_api_key: "sk-secret" } })],
      [["llm_api_key.removed"], () => hub.call("PATCH /v1/me", { token: token(), body: { llm_api_key: null } })],
      [[], () => hub.call("PATCH /v1/me", { token: token(), body: { display_name: "Ada" } })],
      [["user.deleted"], () => hub.call(`DELETE ${path}`, { token: token() })],
      [[], () => hub.call(`DELETE ${path}`, { token: token() })],
      [
        ["user.registered", "session.opened"],
        () =>
          hub.call("POST /auth/register", {
            body: { username: "stranger", email: "s@example.com", password: adminPassword },
          }),
      ],
      [
        ["workspace.created"],
        () =>
          hub.call("POST /v1/workspaces", {
            token: token(),
            body: { name: "Other", admin: { username: "other", email: "o@example.com", password: adminPassword } },
          }),
      ],
    ];
    for (const [expected, action] of actions) {
      const records = await recordedBy(action);
      assert.deepEqual(
        records.map(({ action }) => action),
        expected,
        String(action),
      );
      for (const { ip, request_id } of records) {
        assert.equal(ip, "127.0.0.1");
        assert.match(request_id!, /^[\w-]{36}$/);
      }
    }
  });

  test("names the actor, and none for a refused login", async () => {
    const [changed] = await recordedBy(() => makeUser("agent"));
    assert.deepEqual([changed!.actor_kind, changed!.actor_id], ["user", admin.user_id]);
    assert.deepEqual(changed!.details, { role: "agent" });

    const [wrong] = await recordedBy(() => hub.logIn("admin", "a wrong password"));
    assert.deepEqual([wrong!.actor_kind, wrong!.actor_id], ["anonymous", null]);
    assert.deepEqual(
      [wrong!.target_type, wrong!.target_id, wrong!.details],
      ["user", admin.user_id, { reason: "wrong_password" }],
    );

    const { body: key } = await hub.call("POST /v1/api-keys", { token: token(), body: { name: "k", scopes: ["*"] } });
    const [byKey] = await recordedBy(() => hub.call(`DELETE /v1/api-keys/${key.api_key_id}`, { token: key.key }));
    assert.deepEqual([byKey!.actor_kind, byKey!.actor_id], ["api_key", key.api_key_id]);
  });

  test("records the reuse of a refresh token", async () => {
    const session = await hub.logIn("admin");
    const refresh = (refresh_token: string) => hub.call("POST /auth/refresh", { body: { refresh_token } });
    const { body: next } = await refresh(session.refresh_token);
    await refresh(next.refresh_token);
    hub.passTime(60_000);
    const [record] = await recordedBy(() => refresh(session.refresh_token));
    assert.equal(record!.action, "session.revoked");
    assert.deepEqual(record!.details, { reason: "refresh_token_used_twice", user_id: admin.user_id });
  });

  test("contains neither the username that was typed nor any secret", async () => {
    const typed = "hunter2-typed-as-a-name";
    const [record] = await recordedBy(() => hub.logIn(typed, "a canary password"));
    assert.deepEqual([record!.action, record!.details], ["session.refused", { reason: "unknown_user" }]);
    const { body: key } = await hub.call("POST /v1/api-keys", {
      token: token(),
      body: { name: "canary-name", scopes: ["*"] },
    });
    await hub.call("PATCH /v1/me", { token: token(), body: { llm_api_key: "sk-canary" } });
    const { rows } = await hub.db.query("SELECT l::text AS line FROM audit_log l");
    const all = rows.map(({ line }) => line).join("\n");
    for (const secret of [typed, "canary", adminPassword, key.key, token(), admin.refresh_token]) {
      assert.ok(!all.includes(secret));
    }
  });

  test("is listed newest first, in pages, and filtered", async () => {
    const user = await makeUser();
    await hub.call(`PATCH /v1/users/${user.user_id}`, { token: token(), body: { role: "member" } });
    const list = async (query: string) => (await hub.call(`GET /v1/audit-log?${query}`, { token: token() })).body;
    const of = await list(`target_id=${user.user_id}`);
    assert.deepEqual(
      of.data.map(({ action }: Line) => action),
      ["user.role_changed", "user.created"],
    );
    assert.deepEqual((await list(`target_id=${user.user_id}&action=user.created`)).data.length, 1);
    assert.deepEqual((await list(`target_id=${user.user_id}&actor_id=${user.user_id}`)).data, []);
    const [changed, created] = of.data;
    assert.deepEqual((await list(`target_id=${user.user_id}&to=${created.at}`)).data, []);
    assert.ok((await list(`from=${changed.at}`)).data.every(({ position }: Line) => position >= changed.position));

    const seen: number[] = [];
    for (let cursor = ""; ; ) {
      const page = await list(`limit=3${cursor}`);
      seen.push(...page.data.map(({ position }: Line) => position));
      if (page.next_cursor === null) break;
      cursor = `&cursor=${page.next_cursor}`;
    }
    assert.deepEqual(
      seen,
      Array.from({ length: seen.length }, (_, i) => seen.length - i),
    );
    assert.equal((await hub.call("GET /v1/audit-log?cursor=nonsense", { token: token() })).status, 400);
    assert.equal((await hub.call("GET /v1/audit-log?colour=red", { token: token() })).status, 400);
  });

  test("can be read only by admins of the workspace and by their keys with the scope", async () => {
    const agent = await makeUser("agent");
    const { access_token } = await hub.logIn(agent.username);
    const keyWith = async (scope: string) =>
      (await hub.call("POST /v1/api-keys", { token: token(), body: { name: "k", scopes: [scope] } })).body.key;
    for (const path of ["/v1/audit-log", "/v1/audit-log/export"]) {
      assert.equal((await hub.call(`GET ${path}`)).status, 401);
      assert.equal((await hub.call(`GET ${path}`, { token: access_token })).status, 403);
      assert.equal((await hub.call(`GET ${path}`, { token: await keyWith("users:read") })).status, 403);
    }
    assert.equal((await hub.call("GET /v1/audit-log", { token: await keyWith("audit-log:read") })).status, 200);

    const other = { username: "second", email: "second@example.com", password: adminPassword };
    await hub.call("POST /v1/workspaces", { token: token(), body: { name: "Second", admin: other } });
    const theirs = (await hub.logIn("second")).access_token;
    const { body } = await hub.call("GET /v1/audit-log", { token: theirs });
    assert.deepEqual(
      body.data.map(({ action }: Line) => action),
      ["session.opened", "user.created", "audit_log.started"],
    );
  });
});

describe("the export", () => {
  async function download(): Promise<{ lines: string[]; type: string | null }> {
    const { port } = hub.app.server.address() as { port: number };
    const answer = await fetch(`http://127.0.0.1:${port}/v1/audit-log/export`, {
      headers: { authorization: `Bearer ${token()}` },
    });
    return { lines: (await answer.text()).trimEnd().split("\n"), type: answer.headers.get("content-type") };
  }

  /** The program in the guide, as the guide runs it. */
  async function runGuide(lines: readonly string[]): Promise<{ code: number; output: string }> {
    const guide = readFileSync(join(import.meta.dirname, "../../../docs/guides/audit-log.md"), "utf8");
    const [, program] = /```js\n([\s\S]*?)```/.exec(guide)!;
    assert.ok(program!.trim().split("\n").length <= 20);
    const child = spawn(process.execPath, ["--input-type=module", "-e", program!], { stdio: "pipe" });
    // It stops reading at the first wrong record.
    child.stdin.on("error", () => {});
    child.stdin.end(`${lines.join("\n")}\n`);
    const [stdout, stderr, code] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      new Promise<number>((resolve) => child.once("close", resolve)),
    ]);
    return { code, output: stdout + stderr };
  }

  test("holds every record, oldest first, and ends with the record of the export itself", async () => {
    const { workspace_id } = await newest();
    await transaction(hub.db, async (tx) => {
      for (let i = 0; i < 1_200; i++) await recordAuditEvent(tx, systemOf(workspace_id), { action: "thing.done" });
    });
    const { lines, type } = await download();
    assert.equal(type, "application/x-ndjson");
    assert.ok(lines.length > 1_200);
    const records = lines.map((line) => JSON.parse(line) as Line);
    assert.deepEqual(
      records.map(({ position }) => position),
      records.map((_, i) => i + 1),
    );
    assert.equal(records[0]!.action, "audit_log.started");
    assert.deepEqual([records.at(-1)!.action, records.at(-1)!.actor_id], ["audit_log.exported", admin.user_id]);
  });

  test("is verified by the program in the guide, which finds changed records", async () => {
    const { lines } = await download();
    const { code, output } = await runGuide(lines);
    assert.equal(code, 0, output);
    const head = JSON.parse(lines.at(-1)!).hash;
    assert.equal(output.trim(), `${lines.length} records, head ${head}`);

    const edited = lines.with(4, lines[4]!.replace(/"action":"[^"]*"/, '"action":"thing.else"'));
    const changes = { edited, missing: lines.toSpliced(4, 1), swapped: lines.with(4, lines[5]!).with(5, lines[4]!) };
    for (const [name, changed] of Object.entries(changes)) {
      const found = await runGuide(changed);
      assert.notEqual(found.code, 0, name);
      assert.match(found.output, /Record 5 is not as it was/, name);
    }
  });
});
