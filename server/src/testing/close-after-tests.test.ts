import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "../../..");
const packages = ["server/src", "simulator/src", "client/src", "bench/src", "e2e"];

// The disaster: `before` fails, `after` closes an undefined browser and throws, and a server that is still open keeps the
// process, and with it the whole run, from ending.
test("no test closes things by its own hook", () => {
  const wrong = packages.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .map((name) => `${folder}/${name}`)
      .filter((path) => path.endsWith(".ts") && !path.includes("node_modules"))
      .filter((path) => path !== "server/src/testing/close-after-tests.ts")
      .filter((path) => /import \{[^}]*\bafter\b[^}]*\} from "node:test"/.test(readFileSync(join(root, path), "utf8"))),
  );
  assert.deepEqual(wrong, [], "use closeAfterTests() instead of after()");
});
