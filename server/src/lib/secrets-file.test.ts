import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { dropOldEncryptionKeys, type GeneratedSecrets, readOrCreateSecrets, rotateSecrets } from "./secrets-file.ts";
import { StartError } from "./start-error.ts";

test("secrets are made once and stay the same, for their owner's eyes only", (t) => {
  const dataDir = join(temporaryFolder(t), "data");
  const first = revealed(readOrCreateSecrets(dataDir));
  assert.deepEqual([first.jwt.length, first.jwtPrivateKeys.length, first.encryptionKeys.length], [1, 1, 1]);
  assert.ok(first.jwt[0]!.length >= 32);
  assert.deepEqual(readdirSync(dataDir), ["secrets.json"]);
  assert.equal(statSync(join(dataDir, "secrets.json")).mode & 0o777, 0o600);

  assert.deepEqual(revealed(readOrCreateSecrets(dataDir)), first);
  assert.notDeepEqual(revealed(readOrCreateSecrets(join(dataDir, "other"))), first);
});

test("a file of an older version keeps its secrets and gets what it lacks", (t) => {
  const dataDir = temporaryFolder(t);
  const older = { jwt_secret: "j".repeat(64), encryption_key: Buffer.alloc(32, 1).toString("base64") };
  writeFileSync(join(dataDir, "secrets.json"), JSON.stringify(older));
  const first = revealed(readOrCreateSecrets(dataDir));
  assert.deepEqual([first.jwt, first.encryptionKeys], [["j".repeat(64)], [Buffer.alloc(32, 1).toString("hex")]]);
  assert.deepEqual(revealed(readOrCreateSecrets(dataDir)), first);
});

test("new secrets come first, the signing one before them stays, and what encrypts stays until it is dropped", (t) => {
  const dataDir = temporaryFolder(t);
  assert.throws(() => rotateSecrets(dataDir), StartError);
  const first = revealed(readOrCreateSecrets(dataDir));
  rotateSecrets(dataDir);
  const second = revealed(readOrCreateSecrets(dataDir));
  rotateSecrets(dataDir);
  const third = revealed(readOrCreateSecrets(dataDir));

  assert.deepEqual(second.jwt.slice(1), first.jwt);
  assert.deepEqual(second.jwtPrivateKeys.slice(1), first.jwtPrivateKeys);
  assert.deepEqual(third.jwt.slice(1), second.jwt.slice(0, 1));
  assert.deepEqual(third.encryptionKeys.slice(1), second.encryptionKeys);
  assert.equal(new Set(third.encryptionKeys).size, 3);
  assert.equal(statSync(join(dataDir, "secrets.json")).mode & 0o777, 0o600);

  const newest = Buffer.from(third.encryptionKeys[0]!, "hex");
  assert.equal(dropOldEncryptionKeys(dataDir, newest), 2);
  assert.deepEqual(revealed(readOrCreateSecrets(dataDir)), {
    ...third,
    encryptionKeys: third.encryptionKeys.slice(0, 1),
  });
  assert.equal(dropOldEncryptionKeys(dataDir, newest), 0);
});

// Once a `secrets rotate` during a `secrets reseal` removed the only key that opens the secrets.
test("rotating secrets during a reseal removes no key that is in use", (t) => {
  const dataDir = temporaryFolder(t);
  readOrCreateSecrets(dataDir);
  rotateSecrets(dataDir);
  const inUse = readOrCreateSecrets(dataDir).encryptionKeys[0]!.reveal();
  rotateSecrets(dataDir);
  assert.equal(dropOldEncryptionKeys(dataDir, inUse), 1);
  const { encryptionKeys } = revealed(readOrCreateSecrets(dataDir));
  assert.deepEqual([encryptionKeys.length, encryptionKeys[1]], [2, inUse.toString("hex")]);
  assert.throws(() => dropOldEncryptionKeys(dataDir, Buffer.alloc(32)), /was changed meanwhile/);
});

// New ones in the place of damaged ones would make every stored credential unreadable.
test("a damaged file is an error and stays as it is", (t) => {
  const dataDir = temporaryFolder(t);
  for (const damaged of ["", "{", "null", '{"jwt_secret": "short"}']) {
    writeFileSync(join(dataDir, "secrets.json"), damaged);
    assert.throws(() => readOrCreateSecrets(dataDir), StartError);
  }
});

function revealed({ jwt, jwtPrivateKeys, encryptionKeys }: GeneratedSecrets) {
  return {
    jwt: jwt.map((secret) => secret.reveal()),
    jwtPrivateKeys: jwtPrivateKeys.map((key) => key.reveal().export({ format: "jwk" }).d),
    encryptionKeys: encryptionKeys.map((key) => key.reveal().toString("hex")),
  };
}

function temporaryFolder(t: { after(work: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), "chat4all-secrets-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}
