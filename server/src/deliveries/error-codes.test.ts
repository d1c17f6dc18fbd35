import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const source = new URL("../", import.meta.url).pathname;
const guide = readFileSync(join(source, "../../docs/guides/failed-messages.md"), "utf8");

test("the guide on failed messages lists each code that a delivery can have, and no other", () => {
  const listed = new Set(
    guide
      .split("\n")
      .flatMap((line) => [...(/^\|([^|]*)\|/.exec(line)?.[1] ?? "").matchAll(/`([A-Z_]+)`/g)].map(([, code]) => code!)),
  );
  const reasons = /type RefusalReason =(.*?);.*?type AccountProblem =(.*?);/s.exec(read("connectors/connector.ts"))!;
  const used = new Set(
    [
      ...reasons
        .slice(1)
        .join()
        .matchAll(/"([A-Z_]+)"/g),
    ].map(([, code]) => code!),
  );
  const files = readdirSync(join(source, "deliveries"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .map((name) => `deliveries/${name}`);
  for (const file of [...files, "messages/show.ts"]) {
    for (const [, code] of read(file).matchAll(/"([A-Z]+_?[A-Z_]{4,})"/g)) used.add(code!);
  }
  assert.deepEqual([...listed].sort(), [...used].sort());
});

function read(file: string): string {
  return readFileSync(join(source, file), "utf8");
}
