/**
 * `npm run contract` writes contract/openapi.json and its types, contract/openapi.ts; with `--check` it only says whether
 * the files are current.
 */
import { readFileSync, writeFileSync } from "node:fs";
import openapiTypes, { astToString, COMMENT_HEADER } from "openapi-typescript";
import { openApiText } from "./contract.ts";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
const document = openApiText(version);
const types = await openapiTypes(document, {
  rootTypes: true,
  rootTypesNoSchemaPrefix: true,
  // A field with a default may be left out of a request.
  defaultNonNullable: false,
});

for (const [name, text] of [
  ["openapi.json", document],
  ["openapi.ts", COMMENT_HEADER + astToString(types)],
] as const) {
  const file = new URL(`../${name}`, import.meta.url);
  if (!process.argv.includes("--check")) writeFileSync(file, text);
  else if (readFileSync(file, "utf8") !== text) {
    process.stderr.write(
      `contract/${name} is not what contract/src says: run \`npm run contract\` and commit the file.\n`,
    );
    process.exitCode = 1;
  }
}
