import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { before, test } from "node:test";
import { contract, openApiText } from "../../../contract/src/contract.ts";
import { componentNamed } from "../../../contract/src/schemas.ts";
import { compileValidator } from "../http/validation.ts";
import { version } from "../lib/version.ts";
import { openRestWithoutHub } from "../testing/rest-without-hub.ts";

interface Operation {
  summary?: string;
  description?: string;
  tags?: string[];
  security?: Record<string, unknown>[];
  parameters?: unknown[];
  requestBody?: unknown;
  responses: Record<string, { content?: Record<string, { schema: unknown }> }>;
}
interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, { examples?: unknown[] }> };
}
type Body = { title?: string; examples?: unknown[]; properties?: object };
type Validate = ((value: unknown) => boolean) & { errors?: { message?: string }[] | null };

/** Every operation of the API: a list by hand, so that none is added or removed by accident. */
const surface = `
  POST /auth/register · POST /auth/token · POST /auth/refresh · POST /auth/logout · POST /auth/logout-everywhere · GET /v1/me · PATCH /v1/me
  GET /auth/providers · GET /auth/oauth/{provider} · GET /auth/oauth/{provider}/callback · POST /auth/oauth/exchange
  POST /v1/invitations · GET /v1/invitations · DELETE /v1/invitations/{id} · POST /auth/invitations/accept
  POST /v1/me/password · POST /auth/password/forgot · POST /auth/password/reset · POST /v1/users/{id}/password-reset
  POST /v1/me/totp · POST /v1/me/totp/confirm · DELETE /v1/me/totp · DELETE /v1/users/{id}/totp
  POST /v1/api-keys · GET /v1/api-keys · DELETE /v1/api-keys/{id} · POST /v1/workspaces · GET /v1/workspaces
  GET /v1/users · POST /v1/users · GET /v1/users/{id} · PATCH /v1/users/{id} · DELETE /v1/users/{id}
  POST /v1/users/{id}/addresses · POST /v1/users/{id}/addresses/verify · DELETE /v1/users/{id}/addresses/{address}
  GET /v1/contacts · POST /v1/contacts · GET /v1/contacts/{id} · PATCH /v1/contacts/{id} · DELETE /v1/contacts/{id}
  POST /v1/contacts/{id}/merge · POST /v1/contacts/{id}/addresses · DELETE /v1/contacts/{id}/addresses/{address}
  GET /v1/conversations · POST /v1/conversations · GET /v1/conversations/{id} · PATCH /v1/conversations/{id}
  GET /v1/conversations/{id}/capabilities · GET /v1/conversations/{id}/messages
  POST /v1/conversations/{id}/members · DELETE /v1/conversations/{id}/members/{participant_id}
  POST /v1/conversations/{id}/read · POST /v1/conversations/{id}/typing
  POST /v1/messages · POST /v1/messages/batch · POST /v1/messages/preflight
  GET /v1/messages/{id} · GET /v1/messages/{id}/events · GET /v1/messages/{id}/trace
  POST /v1/files/initiate · POST /v1/files/complete · GET /v1/files/{id}/parts · POST /v1/files · GET /v1/files · GET /v1/files/{id}
  GET /v1/files/{id}/download · GET /v1/files/{id}/thumbnail · DELETE /v1/files/{id}
  POST /v1/documents/{id}/extract · POST /v1/documents/{id}/summarize · GET /v1/tasks · GET /v1/tasks/{id} · POST /v1/tasks/{id}/cancel
  GET /v1/dead-letters · POST /v1/dead-letters/replay · POST /v1/dead-letters/{id}/replay · DELETE /v1/dead-letters/{id}
  GET /v1/channel-accounts · POST /v1/channel-accounts · GET /v1/channel-accounts/{id} · PATCH /v1/channel-accounts/{id}
  DELETE /v1/channel-accounts/{id} · GET /v1/channel-accounts/{id}/health · POST /v1/channel-accounts/{id}/verify
  GET /webhooks/{channel}/{id} · POST /webhooks/{channel}/{id} · GET /healthz · GET /readyz · GET /metrics
  POST /v1/webhook-endpoints · GET /v1/webhook-endpoints · GET /v1/webhook-endpoints/{id}
  PATCH /v1/webhook-endpoints/{id} · DELETE /v1/webhook-endpoints/{id} · POST /v1/webhook-endpoints/{id}/rotate-secret
  POST /v1/webhook-endpoints/{id}/test · POST /v1/webhook-endpoints/{id}/replay
  GET /v1/webhook-endpoints/{id}/attempts · POST /v1/webhook-endpoints/{id}/attempts/{attempt_id}/replay
  GET /v1/events · GET /.well-known/jwks.json · GET /v1/audit-log · GET /v1/audit-log/export · GET /v1/stats
`
  .split(/[·\n]/)
  .map((line) => line.trim())
  .filter((line) => line !== "");

const open = /^(\w+ \/auth\/(?!logout).*|\w+ \/webhooks\/.*|GET \/(healthz|readyz|metrics|\.well-known\/.*))$/;

let text: string;
let operations: [string, Operation][];
before(async () => {
  text = openApiText(version);
  const { paths } = JSON.parse(text) as Document;
  operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, Operation] => [
      `${method.toUpperCase()} ${path}`,
      operation,
    ]),
  );
});

test("contract/openapi.json is up to date", () => {
  const committed = readFileSync(new URL("../../../contract/openapi.json", import.meta.url), "utf8");
  assert.ok(committed === text, "contract/openapi.json is not what the code says: run `npm run contract`.");
});

test("the document is reproducible, and names no machine and no time", async () => {
  assert.equal(openApiText(version), text);
});

test("the document is valid OpenAPI 3.1", async () => {
  // The linter that Redoc, which shows the document, brings along.
  const require = createRequire(createRequire(import.meta.url).resolve("redoc/package.json"));
  const { createConfig, lintFromString } = require("@redocly/openapi-core");
  const config = await createConfig({
    rules: {
      struct: "error",
      "no-unresolved-refs": "error",
      "path-parameters-defined": "error",
      "no-identical-paths": "error",
      "no-ambiguous-paths": "off",
      "spec-strict-refs": "off",
    },
  });
  const problems: { message: string; location: { pointer?: string }[] }[] = await lintFromString({
    source: text,
    config,
  });
  assert.deepEqual(
    problems.map(({ message, location }) => `${location[0]?.pointer}: ${message}`),
    [],
  );
  assert.equal((JSON.parse(text) as Document).openapi, "3.1.0");
});

test("the API has these operations", () => {
  assert.deepEqual(operations.map(([name]) => name).toSorted(), surface.toSorted());
});

test("every operation has a summary, its access and its errors", () => {
  for (const [name, { summary, tags, security, responses }] of operations) {
    assert.ok(summary && tags?.length === 1, `${name} has no summary or tag`);
    const isSecured = security === undefined || security.length > 0;
    assert.equal(isSecured, !open.test(name), `${name} says wrongly whether it needs a credential`);
    const statuses = Object.keys(responses);
    assert.ok(
      statuses.some((status) => /^[23]/.test(status)),
      `${name} never succeeds`,
    );
    if (isSecured) assert.ok(statuses.includes("401"), `${name} does not say 401`);
    if (name.includes("{") && !name.includes("/webhooks/"))
      assert.ok(statuses.includes("404"), `${name} does not say 404`);
    for (const [status, response] of Object.entries(responses)) {
      if (Number(status) < 400 || name === "GET /readyz") continue;
      const shape = JSON.stringify(response);
      assert.match(
        shape,
        /"request_id"|"#\/components\/responses\//,
        `${name} returns ${status} without the error's shape`,
      );
    }
  }
});

test("operations with a body or a query document 400, also for unknown fields", () => {
  for (const [name, { requestBody, parameters, responses }] of operations) {
    if (name.includes("/webhooks/")) continue;
    if (requestBody !== undefined || parameters !== undefined)
      assert.ok("400" in responses, `${name} does not say 400`);
  }
});

test("an operation that takes an Idempotency-Key has the header and the status of its conflicts", () => {
  const keyed = contract.filter(({ idempotent }) => idempotent !== undefined);
  assert.ok(keyed.length > 0);
  for (const { method, path } of keyed) {
    const { parameters = [], responses } = new Map(operations).get(`${method} ${path}`)!;
    assert.match(JSON.stringify(parameters), /idempotency-?key/i, `${method} ${path}`);
    assert.ok("409" in responses, `${method} ${path} does not say 409`);
  }
});

test("the description of a write says what an API key without the read scope does not see", () => {
  const described = new Map(operations);
  assert.match(
    described.get("PATCH /v1/contacts/{id}")!.description!,
    /without `contacts:read`, .* only ids and the values/,
  );
  assert.match(described.get("POST /v1/users/{id}/addresses")!.description!, /sent, and `expires_at`, `help`\.$/);
  assert.doesNotMatch(described.get("POST /v1/contacts")!.description!, /contacts:read/);
});

test("every body of a request has a name and an example, and every example is valid", () => {
  for (const { id, body } of contract) {
    const { title, examples, properties } = (body ?? { properties: {} }) as Body;
    if (Object.keys(properties ?? {}).length === 0) continue;
    assert.ok(title, `the body of ${id} has no name`);
    assert.ok(examples, `${title} has no example`);
  }
  const { schemas } = (JSON.parse(text) as Document).components;
  const shown = Object.entries(schemas).flatMap(([name, { examples = [] }]) => examples.map((one) => [name, one]));
  assert.ok(shown.length > 40, `${shown.length} examples`);
  for (const [name, example] of shown as [string, unknown][]) {
    const schema = componentNamed(name)!;
    const validate = compileValidator({ schema, method: "", url: "", httpPart: "body" }) as Validate;
    assert.ok(validate(structuredClone(example)), `${name}: ${JSON.stringify(validate.errors?.[0]?.message)}`);
  }
});

test("every JSON response has a name, so that generated clients have a type for it", () => {
  const unnamed = contract.flatMap(({ id, answers, contentType = "application/json" }) =>
    Object.values(answers as Record<string, Body | null>).flatMap((answer) => {
      const isEmpty = Object.keys(answer?.properties ?? {}).length === 0;
      return contentType.endsWith("json") && !isEmpty && answer?.title === undefined ? [id] : [];
    }),
  );
  assert.deepEqual(unnamed, []);
});

// A route that forgot to say who may call it would be open to everybody.
test("a route without access cannot be added", async () => {
  const app = await openRestWithoutHub();
  assert.throws(() => app.get("/v1/forgotten", async () => "oi"), /GET \/v1\/forgotten does not say who may call it/);
  await app.close();
});

test("routes check the credential before anything else", async () => {
  const app = await openRestWithoutHub();
  for (const [name] of operations.filter(([name]) => !open.test(name))) {
    const [method, path] = name.split(" ") as ["GET", string];
    const answer = await app.inject({
      method,
      url: path.replaceAll(/\{\w+\}/g, "x"),
      payload: "{",
      headers: { "content-type": "application/json" },
    });
    // The authenticator of these routes is absent: that it was asked shows.
    assert.equal(answer.statusCode, 500, `${name} did not ask for a credential first`);
  }
  await app.close();
});
