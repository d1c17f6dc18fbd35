/**
 * Row-level security checks the workspace of a row, but not that of the rows it names. So every column with an id is
 * tried with a row of another workspace, in a workspace with rows of every kind.
 */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import pg from "pg";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { freePort } from "../server/src/testing/free-port.ts";
import { fillWorkspace } from "./src/fill-workspace.ts";
import { startTestHub } from "./src/harness.ts";
import { type Owner, openOwner, quietEndpoints } from "./src/owned-rows.ts";
import { type Pointer, pointElsewhere, pointersOf } from "./src/pointers.ts";
import { keptThings, newThings } from "./src/things.ts";
import { anotherWorkspace, firstWorkspace, openReceiver } from "./src/workspace.ts";

const opened = closeAfterTests();
let client: pg.Client;
let pointers: Pointer[];
let between: { ours: string; theirs: string };

before(async () => {
  const port = String(await freePort());
  const env = { WEBHOOKS_ALLOW_PRIVATE: "true", PORT: port, PUBLIC_URL: `http://127.0.0.1:${port}` };
  const hub = opened.use(await startTestHub({ env }));
  const owner: Owner = opened.use(await openOwner(hub.databaseUrl));
  const receiver = opened.use(await openReceiver());
  const [ours, theirs] = [await firstWorkspace(hub), await anotherWorkspace(hub)];
  for (const workspace of [ours, theirs]) {
    await fillWorkspace(workspace, keptThings(newThings(workspace, receiver.url)), owner);
    await hub.settled();
  }
  await quietEndpoints(hub, owner, [ours, theirs]);
  client = new pg.Client({ connectionString: hub.databaseUrl });
  await client.connect();
  opened.defer(() => client.end());
  pointers = await pointersOf(owner);
  between = { ours: ours.workspaceId, theirs: theirs.workspaceId };
});

for (const verb of ["INSERT", "UPDATE"] as const) {
  test(`${verb}: a request cannot make a row name a row of another workspace`, async () => {
    assert.ok(pointers.length >= 40, `only ${pointers.length} columns`);
    const faults: string[] = [];
    let taken = 0;
    for (const pointer of pointers) {
      const name = `${pointer.table.name}.${pointer.column}`;
      const attempted = await pointElsewhere(client, pointer, verb, between);
      if (attempted === null) faults.push(`${name}: theirs names nothing; make such a row in fill-workspace.ts`);
      else if (attempted.foreign === null) faults.push(`${name} may name a row of another workspace`);
      // Refused by a policy, a foreign key or a trigger, and not for another fault of the row.
      else if (!/^(42501|23503) /.test(attempted.foreign)) faults.push(`${name}: ${attempted.foreign}`);
      if (attempted?.own === null) taken += 1;
      else if (attempted && !attempted.own.startsWith("42501 permission denied"))
        faults.push(`${name}, own: ${attempted.own}`);
    }
    assert.deepEqual(faults, []);
    assert.ok(taken > 10, `${taken} columns may name a row of the own workspace`);
  });
}
