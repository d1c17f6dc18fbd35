import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { measurePatience, patienceVariable } from "./patience.ts";

test("a slower machine gives its tests more time", async () => {
  const [least, most] = [await measurePatience(1), await measurePatience(10)];
  assert.ok(least >= 1 && most <= 12, `${least} to ${most}`);
  assert.ok(most > least || least === 12, `${most} for 10 processes at once, ${least} for one`);
});

test("time limits are stretched by the factor that the run has measured", () => {
  const script = `import { patient } from ${JSON.stringify(import.meta.resolve("./patience.ts"))}; console.log(patient(60_000));`;
  const limitWith = (env: NodeJS.ProcessEnv) =>
    Number(execFileSync(process.execPath, ["--input-type=module", "--eval", script], { env, encoding: "utf8" }));
  assert.equal(limitWith({}), 60_000);
  assert.equal(limitWith({ [patienceVariable]: "2.5" }), 150_000);
  // Node.js refuses another timeout of a process or a signal than a whole number; 60000 * 4.1 is 245999.99999999997.
  assert.equal(limitWith({ [patienceVariable]: "4.1" }), 246_000);
});
