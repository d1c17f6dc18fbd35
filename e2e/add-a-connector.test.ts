/**
 * The connector of the guide is complete: its files, in a copy of this checkout, pass the checks at the guide's end.
 */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { patient } from "../server/src/testing/patience.ts";
import { testsThatNeed } from "../server/src/testing/programs.ts";
import { readBlocks, readPage, runGuide } from "./src/guide.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const notCopied = ["node_modules", "data", ".git"];
const limitMs = patient(240_000);

const { test } = testsThatNeed("curl");

test("docs/guides/add-a-connector.md", async () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), "chat4all-connector-"));
  try {
    cpSync(root, folder, {
      recursive: true,
      filter: (path) => !notCopied.includes(relative(root, path).split("/")[0]!),
    });
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    const blocks = readBlocks(readPage(root, "docs/guides/add-a-connector.md"));
    const notSaved = blocks.filter(({ language, file }) => language !== "sh" && file === null);
    assert.deepEqual(notSaved, [], "a block without a file to save it in");
    const env = {
      TEST_DATABASE_URL: process.env.TEST_DATABASE_URL ?? "",
      PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
    };
    assert.deepEqual(await runGuide({ blocks, folder, env, limitMs }), []);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
