/** `npm run contract` writes contract/openapi.json; with `--check` it only says whether the file is current. */
import { readFileSync, writeFileSync } from "node:fs";
import { openApiText } from "./contract.ts";

const file = new URL("../openapi.json", import.meta.url);
const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
const text = openApiText(version);
if (!process.argv.includes("--check")) writeFileSync(file, text);
else if (readFileSync(file, "utf8") !== text) {
  process.stderr.write(
    "contract/openapi.json is not what contract/src says: run `npm run contract` and commit the file.\n",
  );
  process.exitCode = 1;
}
