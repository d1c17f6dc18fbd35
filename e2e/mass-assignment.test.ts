/**
 * What the hub sets, no body sets: every object of every request body is closed, and every field that only the hub writes
 * is refused by name, wherever it is put. Generated from the hub's own OpenAPI document.
 */

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { authorizationTable, type Row } from "./src/authorization-table.ts";
import type { TestHub } from "./src/harness.ts";
import { readOpenApi } from "./src/openapi.ts";
import { changedTables, type Owner, openOwner, quiet, takeSnapshot } from "./src/owned-rows.ts";
import { keptThings, openHome, type Things } from "./src/things.ts";
import type { Workspace } from "./src/workspace.ts";

/** Maps whose keys are the caller's own, and who checks them. */
const freeForm: Record<string, string> = {
  "POST /v1/contacts metadata": "the caller's words, kept as they are",
  "PATCH /v1/contacts/{id} metadata": "the caller's words, kept as they are",
  "POST /v1/messages metadata": "the caller's words, kept as they are",
  "POST /v1/messages/batch messages.metadata": "the caller's words, kept as they are",
  "POST /v1/messages/preflight metadata": "the caller's words, kept as they are",
  "POST /v1/messages via": "channels, each known or refused",
  "POST /v1/messages/batch messages.via": "channels, each known or refused",
  "POST /v1/messages/preflight via": "channels, each known or refused",
  "POST /v1/messages payload.parameters": "the template's own names",
  "POST /v1/messages/batch messages.payload.parameters": "the template's own names",
  "POST /v1/messages/preflight payload.parameters": "the template's own names",
  "POST /v1/channel-accounts credentials": "checked against the channel's own closed schema",
  "PATCH /v1/channel-accounts/{id} credentials": "checked against the channel's own closed schema",
};

/** What a row of some table holds and no caller may set. */
const serverOwned = [
  ...["id", "user_id", "contact_id", "conversation_id", "message_id", "api_key_id", "workspace_id", "created_by"],
  ...["created_at", "deleted_at", "disabled_at", "revoked_at", "expires_at", "last_used_at", "email_verified_at"],
  ...["role", "status", "seq", "last_seq", "direction", "is_dead_letter", "version", "ordinal", "owner_id"],
  ...["password_hash", "key_hash", "secret_sealed", "credentials_sealed", "llm_api_key_sealed"],
  ...["__proto__", "constructor", "prototype", "toString"],
];

interface Schema {
  type?: string | string[];
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  patternProperties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
}

const opened = closeAfterTests();
let hub: TestHub;
let owner: Owner;
let home: Workspace;
let things: Things;
let bodies: Map<string, Schema>;

before(async () => {
  ({ hub, home, things } = await openHome(opened));
  owner = opened.use(await openOwner(hub.databaseUrl));
  things = keptThings(things);
  bodies = await bodySchemas(hub.url);
});

test("every object in a request body is closed, except those listed here", () => {
  assert.ok(bodies.size > 25);
  const open = [...bodies].flatMap(([route, schema]) => openObjects(schema, route));
  assert.deepEqual([...new Set(open)].sort(), Object.keys(freeForm).sort());
});

describe("fields that the hub writes are refused by name", () => {
  const routes = Object.entries(authorizationTable).filter(([route]) => /^(POST|PATCH|PUT|DELETE) /.test(route));
  for (const [route, row] of routes) {
    // A platform's body: kept unchanged, and read by its connector.
    if (route === "POST /webhooks/{channel}/{id}") continue;
    test(route, async () => {
      const schema = bodies.get(route);
      if (schema === undefined) return assert.equal((await requestOf(row)).body, undefined, "it takes no body");
      const request = await requestOf(row);
      await quiet(hub, owner);
      const before = await takeSnapshot(owner);
      let tried = 0;
      for (const { path, body } of placesIn(request.body, [])) {
        const known = propertiesAt(schema, path);
        if (known === null) continue;
        for (const field of serverOwned.filter((name) => !known.has(name))) {
          tried += 1;
          await expectRefused(route, row, request.params ?? {}, body, [...path, field]);
        }
      }
      assert.ok(tried >= 20, `only ${tried} were tried`);
      assert.deepEqual(changedTables(before, await takeSnapshot(owner)), []);
    });
  }
});

test("a free-form object cannot contain a name that changes all objects", async () => {
  const row = authorizationTable["POST /v1/contacts"]!;
  for (const [field, value] of [
    ["__proto__", { isAdmin: true }],
    ["constructor", { prototype: { isAdmin: true } }],
  ] as const) {
    const body = { display_name: "A contact", metadata: { [placeholder]: value } };
    await expectRefused("POST /v1/contacts", row, {}, body, [field]);
  }
});

async function bodySchemas(url: string): Promise<Map<string, Schema>> {
  type Operation = { requestBody?: { content: Record<string, { schema: Schema }> } };
  const document = await readOpenApi<{
    paths: Record<string, Record<string, Operation>>;
  }>(url);
  const found = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).flatMap(([method, { requestBody }]): [string, Schema][] => {
      const schema = requestBody?.content["application/json"]?.schema;
      return schema === undefined ? [] : [[`${method.toUpperCase()} ${path}`, schema]];
    }),
  );
  return new Map(found);
}

/** Places of objects that take any field, by the names that lead there. */
function openObjects(schema: Schema, place: string): string[] {
  const inside = (name: string) => `${place}${place.split(" ").length === 2 ? " " : "."}${name}`;
  return [
    ...(isOpen(schema) ? [place] : []),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, property]) => openObjects(property, inside(name))),
    ...[schema.items ?? [], schema.anyOf ?? [], schema.oneOf ?? [], schema.allOf ?? []]
      .flat()
      .flatMap((one) => openObjects(one, place)),
  ];
}

/** A choice is closed when each of its forms is. */
function isOpen({ type, properties, additionalProperties, oneOf, anyOf }: Schema): boolean {
  const isObject = [type ?? []].flat().includes("object") || properties !== undefined;
  return isObject && additionalProperties !== false && (oneOf ?? anyOf) === undefined;
}

/** The fields that an object may have there; null where any may be. */
function propertiesAt(schema: Schema, path: readonly string[]): Set<string> | null {
  const forms = [schema, ...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])];
  const [next, ...rest] = path;
  if (next === undefined) {
    if (forms.some(isOpen)) return null;
    return new Set(forms.flatMap(({ properties = {} }) => Object.keys(properties)));
  }
  const inner = forms.flatMap((form) => (/^\d+$/.test(next) ? (form.items ?? []) : (form.properties?.[next] ?? [])));
  const known = inner.map((one) => propertiesAt(one, rest));
  return known.includes(null) || known.length === 0 ? null : new Set(known.flatMap((names) => [...names!]));
}

const placeholder = "a field of the hub";

/** The body once for each object in it, with one more field there. */
function placesIn(value: unknown, path: readonly string[]): { path: readonly string[]; body: unknown }[] {
  if (typeof value !== "object" || value === null) return [];
  const inner = Object.entries(value).flatMap(([name, one]) =>
    placesIn(one, [...path, name]).map(({ path, body }) => ({ path, body: replaced(value, name, body) })),
  );
  return Array.isArray(value) ? inner : [{ path, body: { ...value, [placeholder]: null } }, ...inner];
}

function replaced(value: object, name: string, body: unknown): unknown {
  return Array.isArray(value)
    ? value.map((one, index) => (String(index) === name ? body : one))
    : { ...value, [name]: body };
}

async function requestOf({ call }: Row) {
  return (await call?.({ workspace: home, things, userId: home.admin.userId })) ?? {};
}

async function expectRefused(
  route: string,
  { access }: Row,
  params: Record<string, string>,
  body: unknown,
  path: readonly string[],
): Promise<void> {
  const [method, template] = route.split(" ") as [string, string];
  const field = path.at(-1)!;
  const answer = await fetch(
    hub.url + template.replaceAll(/\{(\w+)\}/g, (_all, name: string) => encodeURIComponent(params[name]!)),
    {
      method,
      headers: {
        "content-type": "application/json",
        ...(access === "public" ? {} : { authorization: `Bearer ${home.admin.token}` }),
      },
      body: JSON.stringify(body).replace(`"${placeholder}"`, JSON.stringify(field)),
    },
  );
  const answered = (await answer.json()) as ErrorAnswer & { results?: ErrorAnswer[] };
  // Items of a batch are refused one by one.
  const { error } = answered.results?.[0] ?? answered;
  const place = `${route} ${path.join(".")}: ${answer.status} ${JSON.stringify(answered)}`;
  assert.equal(answer.status, answered.results === undefined ? 400 : 200, place);
  assert.equal(error?.code, "VALIDATION_ERROR", place);
  assert.ok(String(error?.details?.field).split(".").at(-1) === field, place);
  assert.ok(error.message.includes(field), place);
}

interface ErrorAnswer {
  error?: { code: string; message: string; details?: { field?: string } };
}
