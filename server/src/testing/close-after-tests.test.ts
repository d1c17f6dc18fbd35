import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { patient } from "./patience.ts";

const root = join(import.meta.dirname, "../../..");
const packages = ["embedded-postgres/src", "server/src", "simulator/src", "client/src", "bench/src", "e2e"];

// Prevents this: `before` fails, `after` closes an undefined browser and throws, and an open server keeps the process,
// and
// so the whole run, from ending.
test("tests close what they open by closeAfterTests", () => {
  const wrong = packages.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .map((name) => `${folder}/${name}`)
      .filter((path) => path.endsWith(".ts") && !path.includes("node_modules"))
      .filter((path) => path !== "server/src/testing/close-after-tests.ts")
      .filter((path) => /import \{[^}]*\bafter\b[^}]*\} from "node:test"/.test(readFileSync(join(root, path), "utf8"))),
  );
  assert.deepEqual(wrong, [], "use closeAfterTests() instead of after()");
});

// When a name pattern selects no test of a file, Node runs `after` at once, and a server that `before` opens later
// stays.
for (const add of ["use(server)", "adopt(server, () => server.close())", "defer(() => server.close())"]) {
  test(`a file without a selected test ends, even if its before opens something late with ${add}`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "close-after-tests-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, "late.test.ts");
    writeFileSync(
      file,
      `import { createServer } from "node:net";
       import { before, test } from "node:test";
       import { closeAfterTests } from ${JSON.stringify(join(import.meta.dirname, "close-after-tests.ts"))};
       const opened = closeAfterTests();
       before(async () => {
         while (!opened.disposed) await new Promise(setImmediate);
         const server = createServer().listen(0);
         opened.${add};
       });
       test("a test that is not selected", () => {});`,
    );
    const { NODE_TEST_CONTEXT: _ofThisRun, ...env } = process.env;
    const args = ["--test", "--test-name-pattern=no test has this name", file];
    const run = spawn(process.execPath, args, { env, timeout: patient(10_000) });
    assert.deepEqual(await once(run, "exit"), [0, null]);
  });
}
