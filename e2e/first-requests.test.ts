/**
 * After a start nothing is compiled yet. The first request of a route may take longer than later ones, but must not
 * hold the event loop longer: all other requests would wait, just when clients reconnect.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { authorizationTable } from "./src/authorization-table.ts";
import { sharedSecrets, type TestHub } from "./src/harness.ts";
import { openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { allowedHoldMs } from "./src/loop-delay.ts";
import { requestOfTable } from "./src/request-of-table.ts";
import { openHome, type Things } from "./src/things.ts";
import type { Workspace } from "./src/workspace.ts";

/**
 * A turn may take longer because another program emptied the processor's caches, but rarely for the same route each
 * time.
 */
const maxStarts = 3;

const opened = closeAfterTests();
let hub: TestHub;
let home: Workspace;
let things: Things;

before(async () => {
  ({ hub, home, things } = await openHome(opened));
});

test("the first request of a route holds the event loop no longer than later ones may", async () => {
  let routes = Object.keys(authorizationTable);
  let found: string[] = [];
  for (let starts = 0; starts < maxStarts && routes.length > 0; starts += 1) {
    const held = await holdsOfFirst(routes);
    const allowedMs = allowedHoldMs();
    routes = routes.filter((route) => held.get(route)! > allowedMs);
    found = routes.map((route) => `${route}: ${held.get(route)} ms of ${allowedMs.toFixed(1)} ms`);
  }
  assert.deepEqual(found, []);
});

/** By route: the longest turn of a new process, in ms, while it handled the first request to it. */
async function holdsOfFirst(routes: readonly string[]): Promise<Map<string, number>> {
  const env = { ...sharedSecrets, DATABASE_URL: hub.databaseUrl, SIMULATOR_URL: hub.simulator.url };
  await using place = await openHubPlace({ ...env, WEBHOOKS_ALLOW_PRIVATE: "true" });
  const file = join(place.folder, "turns");
  writeFileSync(file, "");
  const watch = `--import=${new URL("./src/watch-turns.ts", import.meta.url)}`;
  await startHubProcess(place, { ROLES: "api", NODE_OPTIONS: watch, TURNS_FILE: file });
  const held = new Map<string, number>();
  for (const route of routes) {
    const { url, ...request } = await requestOfTable(route, { url: place.url, workspace: home, things });
    await healthy(place.url);
    const seen = readFileSync(file, "utf8").length;
    const answer = await fetch(url, { ...request, redirect: "manual" });
    await answer.text();
    assert.ok(answer.status < 500, `${route}: ${answer.status}`);
    // The turn that ended the response is in the file when the next request has its response.
    await healthy(place.url);
    const turns = readFileSync(file, "utf8").slice(seen).split("\n").map(Number);
    held.set(route, Math.max(...turns));
  }
  return held;
}

async function healthy(url: string): Promise<void> {
  for (let i = 0; i < 2; i += 1) await (await fetch(`${url}/healthz`)).text();
}
