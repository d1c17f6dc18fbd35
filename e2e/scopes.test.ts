/**
 * Checks the tables of SECURITY.md about scopes against the hub: every operation with every scope and role. A route
 * that is missing in the table fails, so each new route needs a decision.
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import type { Role } from "../client/src/client.ts";
import { roles, type Scope, scopes } from "../contract/src/access.ts";
import { eventGroups, eventNames } from "../contract/src/events.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { adminPassword, startTestHub, type TestHub } from "./src/harness.ts";
import { codesIn, readTable } from "./src/markdown-tables.ts";
import { readOpenApi } from "./src/openapi.ts";
import { newAddress, newThings } from "./src/things.ts";
import { connectIdleBot, firstWorkspace, newUser, type Workspace } from "./src/workspace.ts";

const security = readFileSync(join(import.meta.dirname, "../SECURITY.md"), "utf8");
const opened = closeAfterTests();
let hub: TestHub;
let workspace: Workspace;

before(async () => {
  hub = opened.use(await startTestHub({ env: { WEBHOOKS_ALLOW_PRIVATE: "true" } }));
  workspace = await firstWorkspace(hub);
});

interface Rule {
  needs: readonly Scope[] | "session";
  role: Role;
}

function readRules(): Map<string, Rule> {
  const rules = new Map<string, Rule>();
  for (const row of readTable(security, "scope")) {
    const needs = row.scope === "a session" ? "session" : (codesIn(row.scope!) as Scope[]);
    assert.ok(needs === "session" || needs.length > 0 || row.scope === "any", row.scope!);
    for (const operation of codesIn(row.operations!)) {
      assert.ok(!rules.has(operation), `${operation} is in the table twice`);
      rules.set(operation, { needs, role: row["least role"] as Role });
    }
  }
  return rules;
}

describe("every operation, by an API key with each scope of a user with each role", () => {
  const rules = readRules();
  const keys = new Map<string, string>();

  before(async () => {
    const sets: (readonly (Scope | "*")[])[] = [...scopes.map((scope) => [scope]), ...setsIn(rules), ["*"]];
    for (const role of roles) {
      const { client } = workspace[role];
      for (const set of sets) {
        keys.set(`${role} ${set.join(" ")}`, (await client.apiKeys.create({ name: "matrix", scopes: [...set] })).key);
      }
    }
  });

  test("the table has every route that knows its caller, and no other", async () => {
    const { paths } = await readOpenApi<{
      paths: Record<string, Record<string, { security?: unknown[] }>>;
    }>(hub.url);
    const closed = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([, { security: needed }]) => needed === undefined || needed.length > 0)
        .map(([method]) => `${method.toUpperCase()} ${path}`),
    );
    assert.deepEqual([...rules.keys()].sort(), closed.sort());
  });

  for (const [operation, rule] of rules) {
    test(operation, async () => {
      await Promise.all(
        [...keys].map(async ([name, key]) => {
          const [role, ...has] = name.split(" ") as [Role, ...(Scope | "*")[]];
          const isAdmitted = await admits(operation, key);
          assert.equal(isAdmitted, mayCall(rule, role, has), `${operation} by a key of the ${role} with ${has}`);
        }),
      );
    });
  }
});

function setsIn(rules: Map<string, Rule>): (readonly Scope[])[] {
  const sets = [...rules.values()].flatMap(({ needs }) => (needs !== "session" && needs.length > 1 ? [needs] : []));
  return [...new Map(sets.map((set) => [set.join(" "), set])).values()];
}

function mayCall({ needs, role: least }: Rule, role: Role, has: readonly (Scope | "*")[]): boolean {
  if (needs === "session" || roles.indexOf(role) < roles.indexOf(least)) return false;
  return has.includes("*") || needs.every((scope) => has.includes(scope));
}

/**
 * Whether scope and role are enough. The request has no body and names nothing that exists, so that it changes nothing.
 */
async function admits(operation: string, key: string): Promise<boolean> {
  const [method, path] = operation.split(" ") as [string, string];
  const filled = path.replaceAll(/\{\w+\}/g, () => randomUUID());
  const answer = await fetch(hub.url + filled, { method, headers: { authorization: `Bearer ${key}` } });
  const said = await answer.text();
  assert.ok(![401, 429, 500].includes(answer.status), `${operation}: ${answer.status} ${said}`);
  return !(answer.status === 403 && /lacks the scope|requires the role|An API key cannot do this/.test(said));
}

describe("a key with users:write alone", () => {
  const table = readTable(security, "with `users:write` alone");

  /** Each returns the status of the response. */
  const operations: Record<string, (key: string, role: Role) => Promise<number>> = {
    "create a user with this role": async (key, role) => call(key, "POST", "/v1/users", { ...newCredentials(), role }),
    "invite a user with this role": async (key, role) =>
      call(key, "POST", "/v1/invitations", { email: newCredentials().email, role }),
    "give a member this role": async (key, role) => change(key, await userId("member"), { role }),
    "change the name": async (key, role) => change(key, await userId(role), { display_name: "Another" }),
    disable: async (key, role) => change(key, await userId(role), { disabled: true }),
    "enable again": async (key, role) => {
      const id = await userId(role);
      await workspace.admin.client.users.change(id, { disabled: true });
      return change(key, id, { disabled: false });
    },
    "create a password reset": async (key, role) => call(key, "POST", `/v1/users/${await userId(role)}/password-reset`),
    "remove the second factor": async (key, role) => {
      const user = await newUser(hub, workspace.admin, role);
      await user.client.auth.secondFactor.begin();
      return call(key, "DELETE", `/v1/users/${user.userId}/totp`);
    },
    "add an address": async (key, role) =>
      call(key, "POST", `/v1/users/${await userId(role)}/addresses`, { address: newAddress() }),
    "remove an address": async (key, role) => {
      const [id, address] = [await userId(role), newAddress()];
      await workspace.admin.client.users.addAddress(id, address);
      return call(key, "DELETE", `/v1/users/${id}/addresses/${encodeURIComponent(address)}`);
    },
    "delete a user without API keys": async (key, role) => call(key, "DELETE", `/v1/users/${await userId(role)}`),
    "delete a user who has API keys": async (key, role) => {
      const user = await newUser(hub, workspace.admin, role);
      const { key: theirs } = await user.client.apiKeys.create({ name: "theirs", scopes: ["*"] });
      const status = await call(key, "DELETE", `/v1/users/${user.userId}`);
      if (status === 403) assert.equal(await call(theirs, "GET", "/v1/me"), 200, "the keys stay valid");
      return status;
    },
  };

  test("the table and this test know the same operations", () => {
    assert.deepEqual(table.map((row) => row["with `users:write` alone"]).sort(), Object.keys(operations).sort());
  });

  for (const row of table) {
    const name = row["with `users:write` alone"]!;
    for (const role of roles) {
      const said = row[role === "member" ? "a member" : role === "agent" ? "an agent" : "an admin"]!;
      test(`${name}: ${role}`, async () => {
        const { client } = workspace.admin;
        const limited = (await client.apiKeys.create({ name: "limited", scopes: ["users:write"] })).key;
        const status = await operations[name]!(limited, role);
        if (said === "yes") assert.ok(status < 300, `got ${status}`);
        else assert.deepEqual([said, status], ["no", 403]);
        const whole = (await client.apiKeys.create({ name: "whole", scopes: ["*"] })).key;
        const byWhole = await operations[name]!(whole, role);
        assert.ok(byWhole < 300, `a key with all scopes got ${byWhole}`);
      });
    }
  }

  const userId = async (role: Role) => (await newUser(hub, workspace.admin, role)).userId;
  const change = (key: string, id: string, body: object) => call(key, "PATCH", `/v1/users/${id}`, body);
});

describe("what the response of a write shows to a key without the read scope", () => {
  const table = readTable(security, "the response shows");
  const rules = readRules();
  const writes = [...rules].filter(([, { needs }]) => needs !== "session" && needs.some((one) => /:write$/.test(one)));
  const admin = () => workspace.admin.client;
  const words = { type: "text", text: "Hi" };
  const contact = async () => {
    const made = await admin().contacts.create({ display_name: "Ana", addresses: [newAddress()] });
    return made.contact_id;
  };
  const group = async () => {
    const members = [workspace.admin.userId, workspace.agent.userId, await contact()];
    return (await admin().conversations.create({ type: "group", title: "Ours", members })).conversation_id;
  };
  const endpoint = async () => {
    const body = { url: "http://127.0.0.1:65000/events", events: ["message.failed" as const], description: "Theirs" };
    return (await admin().webhookEndpoints.create(body)).webhook_endpoint_id;
  };
  const newMember = async () => (await newUser(hub, workspace.admin, "member")).userId;

  /** Each makes a path in place of the operation's, and a body. */
  const requests: Record<string, () => Promise<[path: string, body?: object]>> = {
    "PATCH /v1/users/{id}": async () => [`/v1/users/${await newMember()}`, { display_name: "Eva" }],
    "POST /v1/users/{id}/addresses": async () => [
      `/v1/users/${await newMember()}/addresses`,
      { address: newAddress() },
    ],
    "PATCH /v1/contacts/{id}": async () => [`/v1/contacts/${await contact()}`, { metadata: {} }],
    "POST /v1/contacts/{id}/merge": async () => [`/v1/contacts/${await contact()}/merge`, { into: await contact() }],
    "POST /v1/contacts/{id}/addresses": async () => [
      `/v1/contacts/${await contact()}/addresses`,
      { address: newAddress() },
    ],
    "POST /v1/conversations": async () => {
      const address = newAddress();
      await admin().contacts.create({ display_name: "Ana", addresses: [address, newAddress()] });
      return ["/v1/conversations", { type: "private", members: [{ address }] }];
    },
    "PATCH /v1/conversations/{id}": async () => [`/v1/conversations/${await group()}`, { title: "Theirs" }],
    "POST /v1/conversations/{id}/members": async () => [
      `/v1/conversations/${await group()}/members`,
      { member: await contact() },
    ],
    "PATCH /v1/channel-accounts/{id}": async () => [
      `/v1/channel-accounts/${await connectIdleBot(workspace)}`,
      { name: "B" },
    ],
    "PATCH /v1/webhook-endpoints/{id}": async () => [`/v1/webhook-endpoints/${await endpoint()}`, { ordered: true }],
    "POST /v1/webhook-endpoints/{id}/rotate-secret": async () => [
      `/v1/webhook-endpoints/${await endpoint()}/rotate-secret`,
    ],
    "POST /v1/webhook-endpoints/{id}/test": async () => [`/v1/webhook-endpoints/${await endpoint()}/test`],
    "POST /v1/tasks/{id}/cancel": async () => [`/v1/tasks/${await newThings(workspace, "").task()}/cancel`],
  };
  /** The first needs a code that was sent to a phone; the others have a body only where a platform shows nothing. */
  const notTried = [
    "POST /v1/users/{id}/addresses/verify",
    "POST /v1/conversations/{id}/read",
    "POST /v1/conversations/{id}/typing",
  ];

  test("the table has every write that has a response, and this test tries those that are limited", async () => {
    const { paths } = await readOpenApi<{
      paths: Record<string, Record<string, { responses: Record<string, { content?: object }> }>>;
    }>(hub.url);
    const answering = writes.filter(([operation]) => {
      const [method, path] = operation.split(" ") as [string, string];
      const { responses } = paths[path]![method.toLowerCase()]!;
      return Object.entries(responses).some(([status, { content }]) => status < "300" && content !== undefined);
    });
    const inTable = table.flatMap((row) => codesIn(row.operations!));
    assert.deepEqual(inTable.toSorted(), answering.map(([operation]) => operation).sort());
    const limited = table.filter((row) => /^its ids/.test(row["the response shows"]!));
    assert.deepEqual(
      limited.flatMap((row) => codesIn(row.operations!)).toSorted(),
      [...Object.keys(requests), ...notTried].sort(),
    );
  });

  for (const [operation, prepare] of Object.entries(requests)) {
    test(operation, async () => {
      const [write] = rules.get(operation)!.needs as [Scope];
      const more: Scope[] = write === "webhook-endpoints:write" ? ["messages:read"] : [];
      const answers = [];
      for (const scopes of [
        [write, ...more],
        [write, write.replace(":write", ":read") as Scope, ...more],
      ]) {
        const [path, body] = await prepare();
        const { key } = await admin().apiKeys.create({ name: "writes", scopes });
        const answer = await answerOf(key, operation.split(" ")[0]!, path, body);
        assert.ok(answer.status < 300, JSON.stringify(answer.body));
        answers.push({ said: Object.entries(body ?? {}), names: Object.entries(answer.body ?? {}) });
      }
      const [limited, whole] = answers as [(typeof answers)[0], (typeof answers)[0]];
      const row = table.find(({ operations }) => codesIn(operations!).includes(operation))!;
      const also = codesIn(row["the response shows"]!);
      for (const [name, value] of limited.names) {
        const isSaid = limited.said.some((pair) => isDeepStrictEqual(pair, [name, value]));
        assert.ok(/_id$/.test(name) || also.includes(name) || isSaid, `it shows ${name}`);
      }
      assert.ok(limited.names.length > 0, "it shows the id");
      assert.ok(whole.names.length > limited.names.length, "with the read scope it shows more");
    });
  }

  test("POST /v1/messages/preflight shows no address and no time", async () => {
    const { key } = await admin().apiKeys.create({ name: "writes", scopes: ["messages:write"] });
    const body = { conversation_id: await group(), payload: words };
    const { body: answer } = await answerOf(key, "POST", "/v1/messages/preflight", body);
    const byTelegram = answer.recipients.find(({ channel }: { channel: string }) => channel === "telegram");
    assert.deepEqual(Object.keys(byTelegram).sort(), [
      "adaptations",
      "can_send",
      "channel",
      "channel_account_id",
      "needs",
      "participant_id",
      "reason",
      "window",
    ]);
    assert.deepEqual(Object.keys(byTelegram.window), ["state"]);
  });
});

test("a key with users:write alone adds no address to its own user, if that is an agent or admin", async () => {
  for (const role of roles) {
    const { client, userId } = await newUser(hub, workspace.admin, role);
    const { key } = await client.apiKeys.create({ name: "limited", scopes: ["users:write"] });
    const status = await call(key, "POST", `/v1/users/${userId}/addresses`, { address: newAddress() });
    assert.equal(status, role === "member" ? 202 : 403, role);
    const path = `/v1/users/${userId}/addresses/verify`;
    const proof = { verification_id: randomUUID(), code: "123456" };
    assert.equal(await call(key, "POST", path, proof), role === "member" ? 404 : 403, role);
  }
});

test("a user's addresses are shown to the user and to admins", async () => {
  const address = newAddress();
  const { admin, agent } = workspace;
  const eva = await newUser(hub, admin, "agent");
  await admin.client.users.addAddress(eva.userId, address);
  assert.deepEqual((await eva.client.auth.me()).addresses, [address]);
  assert.deepEqual((await eva.client.users.get(eva.userId)).addresses, [address]);
  assert.deepEqual((await admin.client.users.get(eva.userId)).addresses, [address]);
  assert.equal((await agent.client.users.get(eva.userId)).addresses, undefined);
});

describe("the events that a key may subscribe a webhook endpoint to", () => {
  const table = readTable(security, "events");
  const scopeOf = (event: string) =>
    table
      .filter((row) => new RegExp(`^${codesIn(row.events!)[0]!.replace("*", ".*")}$`).test(event))
      .map((row) => codesIn(row.scope!)[0] ?? "*")[0];

  test("every event is in the table", () => {
    for (const event of eventNames) assert.notEqual(scopeOf(event), "*", event);
    assert.equal(table.at(-1)!.scope, "all scopes");
  });

  for (const scope of [...scopes, "*"] as const) {
    test(`with ${scope}`, async () => {
      const { client } = workspace.admin;
      const { key } = await client.apiKeys.create({ name: "hooks", scopes: ["webhook-endpoints:write", scope] });
      for (const event of [...eventNames, ...Object.keys(eventGroups)]) {
        const body = { url: "http://127.0.0.1:65000/events", events: [event] };
        const made = await answerOf(key, "POST", "/v1/webhook-endpoints", body);
        const isAllowed = scope === "*" || (event !== "*" && scopeOf(event) === scope);
        assert.equal(made.status, isAllowed ? 201 : 403, `${event} with ${scope}: ${JSON.stringify(made.body)}`);
        if (isAllowed) await client.webhookEndpoints.remove(made.body.webhook_endpoint_id);
      }
    });
  }

  test("a key cannot redirect an endpoint that gets more events than the key may read", async () => {
    const { client } = workspace.admin;
    const url = "http://127.0.0.1:65000/events";
    const whole = await client.webhookEndpoints.create({ url, events: ["message.received", "conversation.created"] });
    const path = `/v1/webhook-endpoints/${whole.webhook_endpoint_id}`;
    const keyWith = async (...more: Scope[]) =>
      (await client.apiKeys.create({ name: "hooks", scopes: ["webhook-endpoints:write", ...more] })).key;
    const from = new Date(Date.now() - 60_000).toISOString();
    const weak = await keyWith("conversations:read");
    for (const [method, below, body] of [
      ["PATCH", "", { url: "http://127.0.0.1:65001/mine" }],
      ["PATCH", "", { events: ["conversation.created"], url: "http://127.0.0.1:65001/mine" }],
      ["PATCH", "", { status: "disabled" }],
      ["POST", "/rotate-secret", {}],
      ["POST", "/replay", { from }],
    ] as const) {
      assert.equal(await call(weak, method, path + below, body), 403, `${method} ${below} ${JSON.stringify(body)}`);
    }
    const own = await answerOf(weak, "POST", "/v1/webhook-endpoints", { url, events: ["conversation.created"] });
    const replay = { from, events: ["message.received"] };
    const ownPath = `/v1/webhook-endpoints/${own.body.webhook_endpoint_id}`;
    assert.equal(await call(weak, "POST", `${ownPath}/replay`, replay), 403);
    assert.equal(await call(weak, "PATCH", ownPath, { events: ["message.received"] }), 403);
    assert.equal(await call(weak, "PATCH", ownPath, { description: "Mine" }), 200);
    const strong = await keyWith("conversations:read", "messages:read");
    assert.equal(await call(strong, "PATCH", path, { status: "disabled" }), 200);
  });
});

test("a key with workspaces:write alone cannot make an admin", async () => {
  const { client } = workspace.admin;
  const body = { name: "By a key", admin: newCredentials() };
  const limited = (await client.apiKeys.create({ name: "limited", scopes: ["workspaces:write"] })).key;
  assert.equal(await call(limited, "POST", "/v1/workspaces", body), 403);
  const whole = (await client.apiKeys.create({ name: "whole", scopes: ["*"] })).key;
  assert.equal(await call(whole, "POST", "/v1/workspaces", body), 201);
});

function newCredentials() {
  const username = `new-${randomUUID().slice(0, 8)}`;
  return { username, email: `${username}@example.com`, password: adminPassword };
}

async function answerOf(key: string, method: string, path: string, body?: object) {
  const answer = await fetch(hub.url + path, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body ? { "content-type": "application/json" } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const said = await answer.text();
  return { status: answer.status, body: said === "" ? null : JSON.parse(said) };
}

async function call(key: string, method: string, path: string, body?: object): Promise<number> {
  return (await answerOf(key, method, path, body)).status;
}
