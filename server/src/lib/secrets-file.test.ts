import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readOrCreateSecrets } from "./secrets-file.ts";
import { StartError } from "./start-error.ts";

test("secrets are made once and stay the same, for their owner's eyes only", (t) => {
  const dataDir = join(temporaryFolder(t), "data");
  const first = readOrCreateSecrets(dataDir);
  assert.ok(first.jwt.reveal().length >= 32);
  assert.equal(first.encryptionKey.reveal().length, 32);
  assert.deepEqual(readdirSync(dataDir), ["secrets.json"]);
  assert.equal(statSync(join(dataDir, "secrets.json")).mode & 0o777, 0o600);

  const second = readOrCreateSecrets(dataDir);
  assert.equal(second.jwt.reveal(), first.jwt.reveal());
  assert.deepEqual(second.encryptionKey.reveal(), first.encryptionKey.reveal());
  assert.notEqual(readOrCreateSecrets(join(dataDir, "other")).jwt.reveal(), first.jwt.reveal());
});

// New ones in the place of damaged ones would make every stored credential unreadable.
test("a damaged file is an error and stays as it is", (t) => {
  const dataDir = temporaryFolder(t);
  for (const damaged of ["", "{", "null", '{"jwt_secret": "short"}']) {
    writeFileSync(join(dataDir, "secrets.json"), damaged);
    assert.throws(() => readOrCreateSecrets(dataDir), StartError);
  }
});

function temporaryFolder(t: { after(work: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), "chat4all-secrets-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}
