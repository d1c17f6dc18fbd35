/** The rules of the tree, held against the real imports: see ARCHITECTURE.md. A new exception needs its reason here. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";

interface SourceFile {
  /** From `server/src`. */
  path: string;
  folder: string;
  text: string;
  lines: number;
  isTest: boolean;
  /** Own files, from `server/src`. */
  imports: string[];
  packages: string[];
}

const root = import.meta.dirname;
const files = readSources(root);
const program = files.filter((file) => !file.isTest);
const byPath = new Map(files.map((file) => [file.path, file]));
const embeddedPostgres = readSources(join(root, "../../embedded-postgres/src"));

/** What every feature writes to in its own transactions; below them, so it knows none of them. */
const records = ["audit"];
/** Who is calling, who exists, how one logs in: each imports those before it, through their entrances. */
const identity = ["credentials", "users", "log-in"];
/** Each layer may import those before it; within one, see the rules below. */
const features = [
  "events",
  ...identity,
  "contacts",
  "conversations",
  "files",
  "messages",
  "channel-accounts",
  "documents",
  "stats",
  "summaries",
];
const pipeline = ["bus", "deliveries", "inbound", "dead-letters", "webhook-endpoints", "signals", "tasks"];
/** The HTTP server itself, which the doors share. */
const server = ["http"];
const doors = ["rest", "realtime"];
/** What assembles the parts: these files know everything, and nobody imports them but one another. */
const assembly = [
  "main.ts",
  "hub.ts",
  "context.ts",
  "prepare-schema.ts",
  "npm-parent.ts",
  "databases.ts",
  "secrets.ts",
  "sealed-columns.ts",
  "flow.ts",
  "http-server.ts",
  "readiness.ts",
  "demo.ts",
  "maintenance.ts",
  "watch-progress.ts",
  "banner.ts",
  "simulator-process.ts",
];
const isAssembly = (path: string) => assembly.includes(path) || folderOf(path) === "commands";
/** Plain vocabulary at the top, for everybody. */
const vocabulary = ["errors.ts", "topics.ts", "database-roles.ts"];

test("lib imports nothing else of the hub", () => {
  const wrong = importsOf(program, inFolder("lib")).filter(([, to]) => folderOf(to) !== "lib" && !isEntrance(to));
  assert.deepEqual(shown(wrong), []);
});

test("embedded-postgres imports nothing else of this repository, and is imported through its entrances", () => {
  const ofPackage = embeddedPostgres.filter((file) => !file.isTest);
  const outside = importsOf(ofPackage, () => true).filter(([, to]) => to.startsWith(".."));
  assert.deepEqual(shown(outside), []);
  assert.equal(findCircle(new Map(ofPackage.map(({ path, imports }) => [path, imports]))), null);
  const wrong = importsOf(program, () => true).filter(([, to]) => /\bembedded-postgres\//.test(to) && !isEntrance(to));
  assert.deepEqual(shown(wrong), []);
});

test("audit imports lib only", () => {
  const wrong = importsOf(program, (file) => records.includes(file.folder)).filter(
    ([, to]) => ![...records, "lib"].includes(folderOf(to)),
  );
  assert.deepEqual(shown(wrong), []);
});

test("users builds on credentials, log-in on both, and none of them on another feature", () => {
  const wrong = importsOf(program, (file) => identity.includes(file.folder)).filter(([from, to]) => {
    const below = identity.slice(0, identity.indexOf(folderOf(from)) + 1);
    return !["lib", ...records, ...below].includes(folderOf(to)) && !vocabulary.includes(to) && !isContract(to);
  });
  assert.deepEqual(shown(wrong), []);
});

test("folders that have an entrance are imported through it", () => {
  const withEntrance = [
    ...records,
    ...identity,
    "contacts",
    "conversations",
    "messages",
    "channel-accounts",
    "documents",
    "summaries",
    "signals",
    "events",
    "realtime",
    "inbound",
    "deliveries",
    "dead-letters",
    "webhook-endpoints",
    "tasks",
    "stats",
  ];
  // For tests: the bounds of guesses, an authenticator app, a renderer of pages, and clients that are no sockets.
  const allowed = [
    "documents/pdfium.ts",
    ...["log-in/guesses.ts", "log-in/totp/one-time-code.ts"],
    ...["client.ts", "frames.ts", "live-feeds.ts", "outlet.ts"].map((name) => `realtime/${name}`),
  ];
  const wrong = importsOf(files, () => true).filter(([from, to]) => {
    const folder = folderOf(to);
    if (!withEntrance.includes(folder) || folder === folderOf(from) || to === `${folder}/${folder}.ts`) return false;
    return !(byPath.get(from)!.isTest && allowed.includes(to));
  });
  assert.deepEqual(shown(wrong), []);
});

test("http imports no door", () => {
  const wrong = importsOf(program, (file) => server.includes(file.folder)).filter(([, to]) =>
    doors.includes(folderOf(to)),
  );
  assert.deepEqual(shown(wrong), []);
});

test("no door imports a door, types included", () => {
  const wrong = importsOf(files, (file) => doors.includes(file.folder)).filter(
    ([from, to]) => doors.includes(folderOf(to)) && folderOf(to) !== folderOf(from),
  );
  assert.deepEqual(shown(wrong), []);
});

test("in deliveries, only sending imports another part, and only receipts", () => {
  const parts = ["routing", "sending", "receipts"];
  const partOf = (path: string) => parts.find((part) => path.startsWith(`deliveries/${part}/`));
  const wrong = importsOf(program, (file) => partOf(file.path) !== undefined)
    .filter(([from, to]) => partOf(to) !== undefined && partOf(to) !== partOf(from))
    .filter(([from, to]) => !(partOf(from) === "sending" && partOf(to) === "receipts"));
  assert.deepEqual(shown(wrong), []);
});

test("features import no pipeline step and no door", () => {
  // Accepting publishes on the bus: messages/ knows only its interface.
  const allowed = new Set(["messages → bus/bus.ts"]);
  const wrong = importsOf(program, (file) => features.includes(file.folder)).filter(
    ([from, to]) =>
      [...pipeline, ...server, ...doors].includes(folderOf(to)) && !allowed.has(`${folderOf(from)} → ${to}`),
  );
  assert.deepEqual(shown(wrong), []);
});

test("pipeline steps import no door", () => {
  const wrong = importsOf(program, (file) => pipeline.includes(file.folder)).filter(([, to]) =>
    [...server, ...doors].includes(folderOf(to)),
  );
  assert.deepEqual(shown(wrong), []);
});

test("only the files that assemble the hub import one another; other files may import their types", () => {
  const wrong = importsOf(program, (file) => !isAssembly(file.path)).filter(([from, to]) => {
    if (!isAssembly(to)) return false;
    return !new RegExp(`import type [^;]*/${to.replace(".", "\\.")}"`).test(byPath.get(from)!.text);
  });
  assert.deepEqual(shown(wrong), []);
});

test("bus, connectors and the vocabulary import only what is listed here", () => {
  const may: Record<string, (to: string) => boolean> = {
    bus: (to) => ["lib", "bus"].includes(folderOf(to)),
    connectors: (to) => folderOf(to) === "connectors" || to === "../../contract/src/payloads.ts" || isPureLib(to),
    "": (to) => vocabulary.includes(to) || to === "lib/postgres.ts",
  };
  for (const [folder, isAllowed] of Object.entries(may)) {
    const own = program.filter((file) => (folder === "" ? vocabulary.includes(file.path) : file.folder === folder));
    assert.deepEqual(shown(importsOf(own, () => true).filter(([, to]) => !isAllowed(to))), [], folder);
  }
});

/** What Meta's platforms share. It is no channel, and knows none. */
const sharedByConnectors = "meta";

test("connectors never touch the database, nor one another", () => {
  const connectors = files.filter((file) => file.folder === "connectors" && !file.isTest);
  for (const { path, packages } of connectors) {
    const known = packages.filter((name) => !name.startsWith("node:") && name !== "typebox");
    assert.deepEqual(known, [], `${path} imports a package`);
  }
  const wrong = importsOf(connectors, () => true).filter(([from, to]) => {
    const other = /^connectors\/([^/]+)\//.exec(to)?.[1];
    if (other === undefined || from.startsWith(`connectors/${other}/`) || from === "connectors/registry.ts")
      return false;
    return other !== sharedByConnectors || !/^connectors\/[^/]+\//.test(from);
  });
  assert.deepEqual(shown(wrong), []);
});

test("the core never names a channel", () => {
  const channels = readdirSync(join(root, "connectors"), { withFileTypes: true }).filter(
    (entry) => entry.isDirectory() && entry.name !== sharedByConnectors,
  );
  const names = new RegExp(channels.map(({ name }) => name).join("|"), "i");
  const allowed = new Map([
    ["banner.ts", "its lines to paste are an example for a person: an address has to be some channel's"],
  ]);
  for (const { path, folder, text } of program) {
    const isOfChannel = folder === "connectors" && !path.startsWith(`connectors/${sharedByConnectors}/`);
    if (isOfChannel || allowed.has(path) || folder === "testing") continue;
    const lines = withoutDocs(text).split("\n");
    const line = lines.find((candidate) => names.test(candidate));
    assert.equal(line, undefined, `${path} names a channel`);
  }
  for (const path of allowed.keys()) assert.match(byPath.get(path)!.text, names, `${path} needs no exception`);
});

test("test support is in testing/, and shared suites in testing/suites/", () => {
  const importers = Map.groupBy(
    files.flatMap((file) => file.imports.map((to) => ({ to, from: file }))),
    ({ to }) => to,
  );
  const wrong = program.filter(({ path }) => importers.get(path)?.every(({ from }) => from.isTest));
  assert.deepEqual(
    wrong.map(({ path }) => path),
    [],
    "only tests import these",
  );
  for (const { path, text } of files.filter(({ folder, path }) => folder === "testing" && !path.endsWith(".test.ts"))) {
    const isSuite = /^export function \w+Suite\b/m.test(text);
    assert.equal(/^testing\/suites\/[a-z-]+-suite\.ts$/.test(path), isSuite, `${path} and suites are named alike`);
  }
});

test("environment variables are read in main.ts and named in config/config.ts", () => {
  const allowed = new Set([
    "main.ts",
    // Of embedded-postgres: gives the database process PATH, and nothing else of ours.
    "server-user.ts",
  ]);
  for (const { path, folder, text } of [...program, ...embeddedPostgres]) {
    if (folder === "testing" || allowed.has(path)) continue;
    // A child process gets the environment of its parent as it is.
    const uses = text.replaceAll("env: process.env", "").replaceAll("...process.env", "");
    assert.doesNotMatch(uses, /process\.env/, `${path} reads the environment`);
  }
});

test("a long file asks whether a second idea hides in it", (t) => {
  for (const { path, lines, isTest } of files) {
    if (lines > (isTest ? 600 : 400)) t.diagnostic(`${path} has ${lines} lines: is it one idea?`);
  }
});

test("every connection to PostgreSQL is opened in lib/postgres.ts, with the settings that all of them need", () => {
  const wrong = program.filter(
    ({ path, text, packages }) =>
      path !== "lib/postgres.ts" && packages.includes("pg") && /new (pg\.)?(Client|Pool)\(/.test(text),
  );
  assert.deepEqual(
    wrong.map(({ path }) => path),
    [],
  );
});

test("the client's address comes from clientAddress, because Fastify's may be no IP address", () => {
  const asking = files.filter(({ path, text }) => path !== "structure.test.ts" && /\brequest\.ips?\b/.test(text));
  assert.deepEqual(
    asking.map(({ path }) => path),
    [],
  );
});

test("time comes from a clock that is an argument, and no duration is computed from wall time", () => {
  const askers: Record<string, string> = {
    "lib/clock.ts": "it is the clock",
  };
  const comparers: Record<string, string> = {
    "lib/database-clock.ts": "detects that the machine's clock was set",
    "credentials/authenticate.ts": "converts the expiry of a token to remaining time",
    "log-in/oauth/oauth-state.ts": "the expiry of a log-in is sealed into the browser's cookie, for any process",
    "files/file-links.ts": "a link says when it ends, to any process and for days",
    "files/send-file.ts": "a file was received at a moment in its row, by any process",
    "webhook-endpoints/dispatcher.ts": "an endpoint has failed since a moment in its row, days ago",
  };
  for (const { path, text } of program) {
    const code = withoutDocs(text);
    if (!(path in askers)) assert.doesNotMatch(code, /\bDate\.now\b|new Date\(\)/, `${path} reads the system's time`);
    const durations = code.replaceAll(/new Date\([\w.]*clock\.now\(\) - /g, "");
    const isDuration = /clock\.now\(\) (-|[<>])|(-|[<>]=?) [\w.]*clock\.now\(\)/.test(durations);
    if (!(path in comparers)) assert.ok(!isDuration, `${path} measures time by clock.now(): use clock.elapsed()`);
    else assert.ok(isDuration, `${path} measures no time by clock.now() any more: drop its exception`);
  }
});

test("the other packages measure no duration by wall time either", () => {
  const askers: Record<string, string> = {
    "embedded-postgres/src/directory-lock.ts": "a stamp for people",
    "client/src/session.ts": "a token expires by whichever clock shows more",
    "simulator/src/simulator.ts": "the origin of its monotonic clock",
  };
  for (const folder of ["embedded-postgres/src", "client/src", "simulator/src"]) {
    for (const { path, text, isTest } of readSources(join(root, "../..", folder))) {
      if (isTest || `${folder}/${path}` in askers) continue;
      assert.doesNotMatch(withoutDocs(text), /\bDate\.now\b|new Date\(\)/, `${folder}/${path} reads the system's time`);
    }
  }
});

test("the context is never spread, and only the assembly imports it", () => {
  for (const { path, text } of program) assert.doesNotMatch(text, /\.\.\.context\b/, `${path} spreads the context`);
  const taking = importsOf(program, (file) => !isAssembly(file.path)).filter(([, to]) => to === "context.ts");
  assert.deepEqual(shown(taking.filter(([from]) => folderOf(from) !== "testing")), []);
});

test("nothing is of type any", () => {
  for (const { path, text } of files) {
    const lines = text.split("\n");
    const index = lines.findIndex(
      (line, at) =>
        /(:|<|as|\|)\s*any\b(?!["'])/.test(withoutStrings(line)) && !lines[at - 1]?.includes("biome-ignore"),
    );
    assert.equal(index, -1, `${path}:${index + 1} is of type any`);
  }
});

test("no two files import each other, however far round, types included", () => {
  const imports = new Map(program.map((file) => [file.path, file.imports.filter((path) => byPath.has(path))]));
  assert.equal(findCircle(imports), null);
});

test("no two folders import each other, however far round, types included", () => {
  const imports = new Map<string, string[]>();
  for (const [from, to] of importsOf(program, () => true)) {
    if (!byPath.has(to) || placeOf(from) === placeOf(to)) continue;
    imports.set(placeOf(from), [...(imports.get(placeOf(from)) ?? []), placeOf(to)]);
  }
  assert.equal(findCircle(imports), null);
});

test("ARCHITECTURE.md names files, functions, tables and codes that exist", () => {
  const page = readFileSync(join(root, "../../ARCHITECTURE.md"), "utf8");
  const migrations = readdirSync(join(root, "../migrations")).map((name) =>
    readFileSync(join(root, "../migrations", name), "utf8"),
  );
  const known = [...files.map(({ text }) => text), ...migrations].join("\n");
  const paths = [...page.matchAll(/[`(]([\w./-]+\.(?:ts|sql|md))[`)]/g)].map(([, path]) => path!);
  const bases = ["../..", "../../contract", "..", "../migrations", "."];
  const absent = paths.filter((path) => !bases.some((base) => existsSync(join(root, base, path))));
  const names = [...page.matchAll(/`(?:[a-z]+\.|[A-Z]\w+\.)?([A-Za-z]\w{3,})`/g)].map(([, name]) => name!);
  assert.ok(paths.length > 30 && names.length > 100, "the page is read");
  absent.push(...names.filter((name) => !new RegExp(`\\b${name}\\b`).test(known)));
  assert.deepEqual(absent, []);
});

/** A folder; the files outside of folders are the vocabulary or the assembly. */
function placeOf(path: string): string {
  if (vocabulary.includes(path)) return "the vocabulary";
  return isAssembly(path) || folderOf(path) === "" ? "the assembly" : folderOf(path);
}

/** `a → b → a`, or null. */
function findCircle(imports: ReadonlyMap<string, readonly string[]>): string | null {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (from: string): string | null => {
    const start = path.indexOf(from);
    if (start !== -1) return [...path.slice(start), from].join(" → ");
    if (done.has(from)) return null;
    path.push(from);
    for (const to of imports.get(from) ?? []) {
      const circle = visit(to);
      if (circle !== null) return circle;
    }
    path.pop();
    done.add(from);
    return null;
  };
  for (const from of imports.keys()) {
    const circle = visit(from);
    if (circle !== null) return circle;
  }
  return null;
}

test("every table is written by its own folder, and by the exceptions listed here", () => {
  const others: Record<string, string> = {
    "dead-letters deliveries": "a replay begins a delivery again",
    "dead-letters provider_messages": "a replay forgets the platform's ids of the try before",
    "credentials users": "notes when everything that a user made was last ended",
    "credentials invitations": "ends what a user made, together with the user's API keys, in one transaction",
    "credentials password_resets": "ends what a user made, together with the user's API keys, in one transaction",
    "credentials webhook_endpoints": "ends what a user made, together with the user's API keys, in one transaction",
    "log-in users": "the hash of a password is a column of its user",
    "deliveries conversations":
      "routing notes how far a conversation is routed, in the statement that writes deliveries",
    "messages file_conversations": "a file is shared with the conversation in the statement that writes its message",
    "messages conversations": "accepting takes the next seq, in the statement that writes the message",
    "users participants": "a user and a workspace are participants, made in one statement with them",
    "inbound addresses": "notes when and where an address last wrote, for many messages in one statement",
    "inbound lanes": "an inbound message says which conversation its address is in",
    "inbound provider_messages": "what people wrote can be quoted and reacted to",
  };
  const owners: Record<string, string> = {
    addresses: "contacts",
    participants: "contacts",
    conversations: "conversations",
    deliveries: "deliveries",
    provider_messages: "deliveries",
    webhook_endpoints: "webhook-endpoints",
    users: "users",
    invitations: "users",
    password_resets: "log-in",
    lanes: "deliveries",
  };
  for (const { folder, text, path } of program) {
    if (folder === "testing") continue;
    for (const [, table] of text.matchAll(/\b(?:INSERT INTO|UPDATE|DELETE FROM)\s+([a-z_]+)\b/g)) {
      const owner = owners[table!] ?? folder;
      owners[table!] = owner;
      if (owner !== folder) assert.ok(`${folder} ${table}` in others, `${path} writes ${table}, the table of ${owner}`);
    }
  }
});

function readSources(folder: string): SourceFile[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((path) => {
      const text = readFileSync(join(folder, path), "utf8");
      const specifiers = [
        ...text.matchAll(/^(?:import|export)\b[^;]*?\bfrom "([^"]+)"|\bimport\("([^"]+)"\)|^import "([^"]+)"/gm),
      ].map((match) => match[1] ?? match[2] ?? match[3]!);
      return {
        path,
        folder: folderOf(path),
        text,
        lines: text.split("\n").length - 1,
        isTest: path.endsWith(".test.ts") || folderOf(path) === "testing",
        imports: specifiers
          .filter((name) => name.startsWith("."))
          .map((name) => relative(folder, join(folder, dirname(path), name))),
        packages: specifiers.filter((name) => !name.startsWith(".")),
      };
    });
}

function folderOf(path: string): string {
  return path.includes("/") ? path.split("/", 1)[0]! : "";
}

function inFolder(folder: string) {
  return (file: SourceFile) => file.folder === folder;
}

function isContract(path: string): boolean {
  return path.startsWith("../../contract/src/");
}

/** Of the package of the embedded PostgreSQL. */
function isEntrance(path: string): boolean {
  return /^(\.\.\/){2}embedded-postgres\/src\/(embedded-postgres|data-dir)\.ts$/.test(path);
}

/** The parts of `lib` that do no input or output of their own. */
function isPureLib(path: string): boolean {
  return [
    "lib/clock.ts",
    "lib/http.ts",
    "lib/ids.ts",
    "lib/json.ts",
    "lib/json-text.ts",
    "lib/names.ts",
    "lib/retry-after.ts",
  ].includes(path);
}

function importsOf(of: readonly SourceFile[], which: (file: SourceFile) => boolean): [from: string, to: string][] {
  return of.filter(which).flatMap((file) => file.imports.map((to): [string, string] => [file.path, to]));
}

function shown(imports: readonly (readonly [string, string])[]): string[] {
  return imports.map(([from, to]) => `${from} imports ${to}`);
}

function withoutDocs(text: string): string {
  return text
    .replaceAll(/\/\*\*[\s\S]*?\*\//g, "")
    .replaceAll(/^\s*\/\/.*$/gm, "")
    .replaceAll(/description:\s*"[^"]*"/g, "");
}

function withoutStrings(line: string): string {
  return line.replaceAll(/"[^"]*"|`[^`]*`|\/\/.*$|^\s*\*.*$|\/\*.*?\*\//g, "");
}
