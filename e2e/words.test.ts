/**
 * Private words do not return: the field's terms are in the glossary of CONTRIBUTING.md. Covers code, identifiers, names
 * of files, tests and docs, but not generated files, the changelog and other people's texts.
 */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "..");

/** Found in texts and in identifiers, whose words are taken apart: `tellX`, `xNews` and `by_hearing` are hits. */
const words = [
  { name: "tell", found: /\b(tell(s|ing|er)?|told)\b/, instead: "notify, publish, report, pass or say" },
  { name: "news", found: /\bnews\b/, instead: "notification, change or event" },
  { name: "rouse", found: /\brous(e[sd]?|ing)\b/, instead: "wake" },
  { name: "sighting", found: /\bsightings?\b/, instead: "presence announcement" },
  { name: "overseer", found: /\boverseers?\b/, instead: "a client that sees all conversations" },
  { name: "chore", found: /\bchores?\b/, instead: "maintenance job" },
  { name: "anew", found: /\banew\b/, instead: "again, or a new one" },
  { name: "whoever", found: /\b(whoever|whatever|whomever)\b/, instead: "a noun, or any" },
  { name: "begun", found: /\bbegun\b/, instead: "started, or OAuth state" },
  { name: "believe", found: /\bbeliev(e[sd]?|ing)\b/, instead: "cached, trusted, accepted or assumed" },
  { name: "hear", found: /\b(hear(s|ing|ers?)?|heard)\b/, instead: "receive, or subscriber" },
  { name: "nobody who", found: /\b(nobody|somebody|everybody) who\b/, instead: "a noun, as in: no client that" },
  { name: "goes on", found: /\b(goes on|comes in)\b/, instead: "continues, or arrives" },
  { name: "maker", found: /\bmakers?\b/, instead: "creator" },
  { name: "e-mail", found: /\be-mails?\b/, instead: "email" },
  {
    name: "time-out",
    found: /\b(time-outs?|set-ups?|log-outs?)\b/,
    instead: "timeout, setup or logout, without a hyphen",
  },
  { name: "for ever", found: /\bfor ever\b/, instead: "forever" },
  { name: "tenant", found: /\btenants?\b/, instead: "workspace" },
] as const;

type Name = (typeof words)[number]["name"];

/** By the beginning of the path, with the reason. An exception without a hit fails the test. */
const exceptions: Record<string, { words: readonly Name[] | "all"; because: string }> = {
  "server/migrations/": { words: "all", because: "a migration that has run is never edited" },
  "CONTRIBUTING.md": { words: "all", because: "the glossary names the words that it replaces" },
  "server/src/connectors/telegram/fixtures/": { words: ["news"], because: "the title of a channel" },
  "e2e/unprivileged-database.test.ts": {
    words: ["tenant"],
    because: "a user of a PostgreSQL server that others share is called a tenant in the field",
  },
};

const textFiles = "**/*.{ts,js,mjs,cjs,json,md,sql,proto,lua,sh,html,css,svg,yml,yaml}";
const skippedFolders = ["node_modules", "data", ".git"];
const skippedFiles = [
  "CHANGELOG.md",
  "package-lock.json",
  "contract/openapi.json",
  "contract/openapi.ts",
  "e2e/words.test.ts",
];

/** Names of the database: code has to use them as the migrations wrote them. */
const namesOfSchema = new Set(
  globSync("server/migrations/*.sql", { cwd: root }).flatMap(
    (path) => readFileSync(join(root, path), "utf8").match(/\b[a-z]+(_[a-z]+)+\b/g) ?? [],
  ),
);

/** `tellNews_of` → `tell news of`, without names of the schema. */
const plainWords = (text: string) =>
  text
    .replaceAll(/\b[a-z]+(_[a-z]+)+\b/g, (name) => (namesOfSchema.has(name) ? "" : name))
    .replaceAll(/([a-z0-9])([A-Z])/g, "$1 $2")
    .replaceAll("_", " ")
    .toLowerCase();

test("no file uses the private words that the glossary replaces", () => {
  const paths = globSync(textFiles, { cwd: root, exclude: (path) => skippedFolders.includes(basename(path)) })
    .filter((path) => !skippedFiles.includes(path))
    .toSorted();
  assert.ok(paths.length > 500, "the pattern finds the files of this project");

  const used = new Set<string>();
  const isException = (path: string, name: Name) => {
    const prefix = Object.keys(exceptions).find((start) => path.startsWith(start));
    const allowed = prefix === undefined ? [] : exceptions[prefix]!.words;
    if (allowed !== "all" && !allowed.includes(name)) return false;
    used.add(prefix!);
    return true;
  };
  const hits = paths.flatMap((path) => {
    // The name of the file counts as its line 0.
    const lines = [path, ...readFileSync(join(root, path), "utf8").split("\n")];
    return lines.flatMap((line, number) => {
      const text = plainWords(line);
      return words
        .filter(({ name, found }) => found.test(text) && !isException(path, name))
        .map(({ name, instead }) => `${path}:${number}: "${name}", use ${instead}: ${line.trim().slice(0, 120)}`);
    });
  });
  assert.equal(hits.length, 0, `\n${hits.join("\n")}`);
  const unused = Object.keys(exceptions).filter((start) => !used.has(start));
  assert.deepEqual(unused, [], "exceptions without a hit");
});
