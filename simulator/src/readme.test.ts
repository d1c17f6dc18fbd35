import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import Fastify from "fastify";
import { serveControl } from "./control/control.ts";
import { defaultAccounts } from "./default-accounts.ts";
import { faces } from "./faces.ts";
import { faultNames } from "./faults.ts";
import { commonSettings } from "./settings.ts";
import type { Simulation } from "./simulation.ts";

const readme = readFileSync(path.join(import.meta.dirname, "../README.md"), "utf8");

test("the README lists the methods of each platform, all of them and no others", () => {
  const section = readme.slice(readme.indexOf("## Supported calls"), readme.indexOf("A test compares"));
  const listed = [...section.matchAll(/^- `([^`]+)`/gm)].map((match) => match[1]);
  assert.deepEqual(
    listed,
    faces.flatMap((face) => face.methods),
  );
});

test("the README lists every route of /_sim", async () => {
  const app = Fastify({ exposeHeadRoutes: false });
  const routes: string[] = [];
  app.addHook("onRoute", ({ method, url }) => {
    routes.push(`${method} /_sim${url.replace(/:id$/, "{media_id}")}`);
  });
  serveControl(app, { world: {}, faces, open: new Map() } as unknown as Simulation);
  assert.ok(routes.includes("GET /_sim/media/{media_id}"));
  const table = readme.slice(readme.indexOf("| call | what it does |"), readme.indexOf("### Media"));
  const listed = [...table.matchAll(/^\| (.+?) \|/gm)].flatMap(([, cell]) => {
    const path = /\/_sim\/[\w/{}]*/.exec(cell!)?.[0];
    return [...cell!.matchAll(/\b(?:GET|POST|DELETE)\b/g)].map(([method]) => `${method} ${path}`);
  });
  assert.deepEqual(listed.sort(), routes.sort());
});

test("the README lists every fault, every setting and the default accounts", () => {
  for (const name of [...faultNames, ...Object.keys(commonSettings)])
    assert.ok(readme.includes(`\n| \`${name}\``), name);
  for (const value of defaultAccounts.flatMap((account) => Object.values(account))) {
    if (value !== "Chat4All Simulator") assert.ok(readme.includes(value), value);
  }
});
