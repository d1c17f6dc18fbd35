/**
 * The first and the last value that a schema permits reach the database: no list fails on them. Generated from the
 * hub's own OpenAPI document.
 */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { markOf } from "../server/src/http/pages.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import type { TestHub } from "./src/harness.ts";
import { readOpenApi } from "./src/openapi.ts";
import { requestOfTable } from "./src/request-of-table.ts";
import { keptThings, openHome, type Things } from "./src/things.ts";
import type { Workspace } from "./src/workspace.ts";

const opened = closeAfterTests();
let hub: TestHub;
let home: Workspace;
let things: Things;

before(async () => {
  ({ hub, home, things } = await openHome(opened));
  things = keptThings(things);
});

interface Parameter {
  name: string;
  in: string;
  schema: { type?: string; format?: string; minimum?: number; maximum?: number };
}

const id = "00000000-0000-7000-8000-000000000000";
const times = ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z"];
/** Unix milliseconds in cursors that a client made up. */
const moments = ["0", "253402300799999", "253402300800000", "999999999999999"];
const cursors = [
  ...moments.map((ms) => `${ms}:${id}`),
  ...["audit:0", "audit:999999999999999", "ASC:999999999999999", "DESC:0", "0", "9 x"],
].map((text) => Buffer.from(text).toString("base64url"));

function extremesOf({ name, schema }: Parameter): string[] {
  if (schema.format === "date-time") return times;
  if (schema.type === "integer") return [schema.minimum, schema.maximum].flatMap((bound) => bound?.toString() ?? []);
  if (name === "cursor") return cursors;
  return name === "after" ? ["0", "999999999999999", "999999999999999-zzzzzz"] : [];
}

test("no list fails on the first or last value of a parameter", async () => {
  const document = await readOpenApi<{ paths: Record<string, { get?: { parameters?: Parameter[] } }> }>(hub.url);
  const paths = Object.entries(document.paths);
  const failed: string[] = [];
  let count = 0;
  for (const [path, { get }] of paths) {
    const parameters = (get?.parameters ?? []).filter((parameter) => parameter.in === "query");
    const extremes = parameters.flatMap((parameter) => extremesOf(parameter).map((value) => [parameter.name, value]));
    if (extremes.length === 0) continue;
    const { url, headers } = await requestOfTable(`GET ${path}`, { url: hub.url, workspace: home, things });
    const orders = parameters.some(({ name }) => name === "sort") ? ["&sort=created", "&sort=activity"] : [""];
    for (const [name, value] of extremes) {
      for (const order of orders) {
        const mark = name === "cursor" ? markOf(new URL(url).pathname, sortOf(order)) : "";
        const query = `${name}=${value}${mark}${order}`;
        const answer = await fetch(`${url}?${query}`, { headers });
        count += 1;
        if (![200, 400].includes(answer.status))
          failed.push(`${path}?${query}: ${answer.status} ${await answer.text()}`);
        else await answer.body?.cancel();
      }
    }
  }
  assert.deepEqual(failed, []);
  assert.ok(count > 100, `only ${count} requests`);
});

function sortOf(order: string): Record<string, string> {
  return order === "" ? {} : { sort: order.split("=")[1]! };
}
