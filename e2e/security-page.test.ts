import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { loadConfig } from "../server/src/config/config.ts";

const root = join(import.meta.dirname, "..");
const page = readFileSync(join(root, "SECURITY.md"), "utf8");

test("the tests, pages and settings that SECURITY.md names exist", () => {
  const files = [...page.matchAll(/`((?:embedded-postgres|server|e2e|client)\/[\w./-]+\.ts)`/g)].map(
    ([, file]) => file!,
  );
  const links = [...page.matchAll(/\]\(([\w./-]+)\)/g)].map(([, file]) => file!);
  assert.ok(files.length > 20 && links.length > 3);
  for (const file of [...files, ...links]) assert.ok(existsSync(join(root, file)), `${file} is not there`);

  const known = new Set(loadConfig({}, { envFile: null }).rows.map(({ key }) => key));
  const settings = [...page.matchAll(/`([A-Z][A-Z]+_[A-Z_]+|REGISTRATION)(?:=[^`]*)?`/g)].map(([, name]) => name!);
  assert.ok(settings.length > 10);
  for (const name of settings) assert.ok(known.has(name), `${name} is no setting`);
});

test("every threat in SECURITY.md names the tests of its defence", () => {
  const threats = page.split("## Threats and defences")[1]!.split("\n## ")[0]!;
  const rows = threats.split("\n").filter((line) => /^\| (?!threat|---)/.test(line));
  assert.ok(rows.length > 15);
  for (const row of rows) assert.match(row.split("|")[3]!, /`(embedded-postgres|server|e2e)\/[\w./-]+\.ts`/, row);
  for (const [, file] of page.matchAll(/`([\w./-]+\.test\.ts)`/g)) {
    assert.match(readFileSync(join(root, dirname(file!), file!.split("/").at(-1)!), "utf8"), /test\(/);
  }
});
