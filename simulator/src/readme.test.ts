import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { defaultAccounts } from "./default-accounts.ts";
import { faces } from "./faces.ts";
import { faultNames } from "./faults.ts";
import { commonSettings } from "./settings.ts";

const readme = readFileSync(path.join(import.meta.dirname, "../README.md"), "utf8");

test("the README lists the methods of each platform, all of them and no others", () => {
  const section = readme.slice(readme.indexOf("## Supported calls"), readme.indexOf("A test compares"));
  const listed = [...section.matchAll(/^- `([^`]+)`/gm)].map((match) => match[1]);
  assert.deepEqual(
    listed,
    faces.flatMap((face) => face.methods),
  );
});

test("the README lists every fault, every setting and the default accounts", () => {
  for (const name of [...faultNames, ...Object.keys(commonSettings)])
    assert.ok(readme.includes(`\n| \`${name}\``), name);
  for (const value of defaultAccounts.flatMap((account) => Object.values(account))) {
    if (value !== "Chat4All Simulator") assert.ok(readme.includes(value), value);
  }
});
