/**
 * `npm run contract` writes contract/openapi.json from the schemas of the code; with `--check` it only says whether the
 * file is current. Needs no database.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { writeContract } from "./contract.ts";

const file = fileURLToPath(new URL("../../../contract/openapi.json", import.meta.url));
const contract = await writeContract();
if (!process.argv.includes("--check")) writeFileSync(file, contract);
else if (read(file) !== contract) {
  process.stderr.write(
    "contract/openapi.json is not what the code says: run `npm run contract` and commit the file.\n",
  );
  process.exitCode = 1;
}

function read(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
