import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { describe, test } from "node:test";
import { startEmbeddedPostgres } from "../../../embedded-postgres/src/embedded-postgres.ts";
import { temporaryFolder } from "../../../embedded-postgres/src/testing/data-directory-process.ts";
import { recordAuditEvent } from "../audit/audit.ts";
import type { Config } from "../config/config.ts";
import { newId } from "../lib/ids.ts";
import { migrate } from "../lib/migrations.ts";
import { type Log, openPool } from "../lib/postgres.ts";
import { Secret } from "../lib/secret.ts";
import { StartError } from "../lib/start-error.ts";
import { createTestDatabase } from "../testing/test-database.ts";
import { auditCommand } from "./audit.ts";
import { runCommand } from "./commands.ts";

const log: Log = { info() {}, warn() {}, error: console.error };
const origin = { ip: null, requestId: null };

/** A database with two workspaces and five records. */
async function fill(url: string) {
  const owner = openPool({ url, size: 2, applicationName: "audit test", log });
  await migrate(owner, { log });
  const workspaces = [newId(Date.now()), newId(Date.now())] as const;
  for (const id of workspaces) {
    await owner.query("INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, 'w', now())", [id]);
  }
  for (let i = 0; i < 3; i++) {
    await recordAuditEvent(owner, { kind: "system", workspaceId: workspaces[0], origin }, { action: "thing.done" });
  }
  return { workspaces, owner };
}

async function run(config: Pick<Config, "database" | "dataDir">, ...args: string[]) {
  const lines: string[] = [];
  const code = await runCommand(["audit", auditCommand], config as Config, args, (line) => lines.push(line));
  return { code, lines, text: lines.join("\n") };
}

describe("audit verify", () => {
  test("prints what it checked, and the head of the chain", async () => {
    await using database = await createTestDatabase();
    const { workspaces, owner } = await fill(database.url);
    const config = { database: { url: new Secret(database.url), poolSize: 2 }, dataDir: "/nowhere" };
    const { code, lines } = await run(config, "verify");
    assert.equal(code, 0);
    assert.match(lines[0]!, new RegExp(`^workspace ${workspaces[0]}: 4 records, head [0-9a-f]{64}$`));
    assert.match(lines[1]!, new RegExp(`^workspace ${workspaces[1]}: 1 record, head [0-9a-f]{64}$`));
    assert.deepEqual(lines.slice(2), [
      "5 records of 2 workspaces checked.",
      "Nothing was edited, removed, inserted or moved.",
    ]);

    const head = lines[0]!.slice(-64);
    assert.equal((await run(config, "verify", "--expect", head.toUpperCase())).code, 0);
    assert.equal((await run(config, "verify", "--workspace", workspaces[0], "--expect", head)).code, 0);
    const elsewhere = await run(config, "verify", "--workspace", workspaces[1], "--expect", head);
    assert.equal(elsewhere.code, 1);
    assert.match(elsewhere.text, /No record has the expected hash/);
    assert.equal((await run(config, "verify", "--workspace", newId(Date.now()))).code, 1);

    await owner.query("UPDATE audit_log SET action = 'thing.undone' WHERE position = 3");
    const changed = await run(config, "verify");
    assert.equal(changed.code, 1);
    assert.match(
      changed.text,
      new RegExp(`workspace ${workspaces[0]}: WRONG after 2 records: record 3 does not match its hash`),
    );
    assert.match(changed.text, /wrong in 1 of 2/);
    await owner.end();
  });

  test("exits with 1 for a changed log, and with 0 otherwise", async () => {
    await using database = await createTestDatabase();
    const { owner } = await fill(database.url);
    const env = {
      PATH: process.env.PATH,
      DATABASE_URL: database.url,
      JWT_SECRET: "j".repeat(32),
      ENCRYPTION_KEY: "0".repeat(64),
    };
    const main = join(import.meta.dirname, "../main.ts");
    const start = () =>
      new Promise<{ code: number; stdout: string }>((resolve) => {
        execFile(process.execPath, [main, "audit", "verify"], { env, cwd: "/" }, (error, stdout) =>
          resolve({ code: error === null ? 0 : Number(error.code), stdout }),
        );
      });
    assert.equal((await start()).code, 0);
    await owner.query("DELETE FROM audit_log WHERE position = 4");
    const { code, stdout } = await start();
    assert.equal(code, 1);
    assert.match(stdout, /record 4 was deleted at the end/);
    await owner.end();
  });

  test("reads the embedded database whether or not a hub runs on it", async () => {
    await using folder = temporaryFolder();
    const { dataDir } = folder;
    const config = { database: { url: null, poolSize: 2 }, dataDir };
    await assert.rejects(
      run(config, "verify"),
      isStartError(/There is no database in .*: set DATA_DIR or DATABASE_URL/),
    );

    const failed = (error: Error) => assert.fail(error);
    await using hub = await startEmbeddedPostgres({ dataDir, log: { ...log, warn() {} }, onFailed: failed });
    const unused = openPool({ url: hub.url, size: 1, applicationName: "audit test", log });
    await assert.rejects(run(config, "verify"), isStartError(/no table audit_log:/));
    await unused.end();
    const { owner } = await fill(hub.url);
    assert.match((await run(config, "verify")).text, /5 records of 2 workspaces checked/);
    await owner.query("UPDATE audit_log SET ip = '192.0.2.1' WHERE position = 2");
    await owner.end();
    await hub.stop();

    const alone = await run(config, "verify");
    assert.equal(alone.code, 1);
    assert.match(alone.text, /record 2 does not match its hash/);
    await using again = await startEmbeddedPostgres({ dataDir, log, onFailed: failed });
    assert.equal(again.adopted, false, "the command leaves no server behind");
  });

  test("prints its usage", async () => {
    const config = { database: { url: null, poolSize: 2 }, dataDir: "/nowhere" };
    for (const args of [[], ["check"], ["verify", "--everything"], ["verify", "more"]]) {
      await assert.rejects(run(config, ...args), isStartError(/Usage: npm start -- audit verify/));
    }
    await assert.rejects(run(config, "verify", "--expect", "abc"), isStartError(/64 hexadecimal digits/));
    await assert.rejects(run(config, "verify", "--workspace", "abc"), isStartError(/the id of a workspace/));
  });
});

function isStartError(message: RegExp) {
  return (error: unknown) => error instanceof StartError && message.test(error.message);
}
