/**
 * Once `npm start -- secrets reseal` stopped a running hub from sending. Every command says whether it may run beside a
 * hub.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { readPidFile } from "../embedded-postgres/src/processes.ts";
import { commands, runCommand } from "../server/src/commands/commands.ts";
import { loadConfig } from "../server/src/config/config.ts";
import { freePort } from "../server/src/testing/free-port.ts";
import { until } from "../server/src/testing/until.ts";
import { adminPassword, sharedSecrets, startTestHub } from "./src/harness.ts";
import { type HubPlace, openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { commandOf, noneLeftIn, processesIn, withoutProc } from "./src/processes.ts";

const program = fileURLToPath(new URL("../server/src/main.ts", import.meta.url));

/**
 * The arguments of each. A missing command fails the tests: add it, and make sure that it is safe beside a hub or
 * refuses.
 */
const calls: Readonly<Record<string, string[]>> = {
  config: [],
  "secrets rotate": [],
  "secrets reseal": [],
  "audit verify": [],
  "admin reset-password": ["admin"],
};
const refused = /^(The data directory .* is in use by another Chat4All|A hub is using this database)[^\n]*\.\n$/;

/** Every command as typed, with its usage and whether it may run beside a hub. */
async function declared() {
  const found: { typed: string; usage: string; mayRunBesideHub: boolean }[] = [];
  for (const [name, load] of Object.entries(commands)) {
    const { usage, actions } = await load();
    for (const [action, { mayRunBesideHub }] of Object.entries(actions)) {
      found.push({ typed: `${name} ${action}`.trim(), usage, mayRunBesideHub });
    }
  }
  return found;
}

/** As typed behind `npm start --`. */
function run({ folder }: Pick<HubPlace, "folder">, typed: string[], env: Record<string, string>) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const options = { cwd: folder, env: { PATH: process.env.PATH, ...env } };
    execFile(process.execPath, [program, ...typed], options, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

test("every command is listed, explains itself, and says whether it may run beside a hub", async () => {
  const all = await declared();
  assert.deepEqual(all.map(({ typed }) => typed).toSorted(), Object.keys(calls).toSorted());
  const { stdout } = await run({ folder: "/" }, ["--help"], {});
  for (const { typed, usage } of all) {
    assert.ok(stdout.includes(typed), `--help names ${typed}`);
    for (const word of typed.split(" ")) assert.ok(usage.includes(word), `its usage names ${typed}`);
  }
});

test(
  "beside a hub on its own database a command works, or refuses with one sentence",
  { skip: withoutProc },
  async () => {
    await using place = await openHubPlace();
    const hub = await startHubProcess(place);
    const env = { DATA_DIR: place.dataDir };
    for (const { typed, mayRunBesideHub } of await declared()) {
      const { code, stdout, stderr } = await run(place, [...typed.split(" "), ...calls[typed]!], env);
      if (mayRunBesideHub) assert.deepEqual({ code, stderr }, { code: 0, stderr: "" }, typed);
      else {
        assert.deepEqual({ code, stdout }, { code: 1, stdout: "" }, typed);
        assert.match(stderr, refused, typed);
      }
    }
    hub.kill("SIGTERM");
    assert.deepEqual(await hub.ended, { code: 0, signal: null });
    for (const { typed } of await declared()) {
      const { code, stderr } = await run(place, [...typed.split(" "), ...calls[typed]!], env);
      assert.deepEqual({ code, stderr }, { code: 0, stderr: "" }, `${typed}, with the hub stopped`);
    }
  },
);

test("a signal ends a command together with the database that it started", { skip: withoutProc }, async () => {
  await using place = await openHubPlace();
  const hub = await startHubProcess(place);
  hub.kill("SIGTERM");
  await hub.ended;
  const directory = join(place.dataDir, "postgres");
  // Holds the command between the start of its database and its first statement.
  appendFileSync(join(directory, "postgresql.conf"), "pre_auth_delay = 60\n");
  const isServer = (pid: number) => /postgres/.test(commandOf(pid)) && !/main\.ts/.test(commandOf(pid));
  const moments = {
    "its database starts": () => processesIn(place.folder).some(isServer),
    "it connects to its database": () => readPidFile(directory)?.status === "ready",
  };
  for (const [moment, hasCome] of Object.entries(moments)) {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      const command = place.spawn({}, ["audit", "verify"]);
      await until(moment, hasCome);
      command.kill(signal);
      const { code } = await command.ended;
      assert.notEqual(code, 0);
      await noneLeftIn(place.folder);
    }
  }
});

test("beside a hub on DATABASE_URL the same commands refuse", { skip: withoutProc }, async () => {
  await using place = await openHubPlace();
  await using hub = await startTestHub();
  const env = { DATABASE_URL: hub.databaseUrl, ADMIN_PASSWORD: adminPassword, ...sharedSecrets };
  for (const { typed, mayRunBesideHub } of await declared()) {
    const { stderr } = await run(place, [...typed.split(" "), ...calls[typed]!], env);
    assert.equal(refused.test(stderr), !mayRunBesideHub, `${typed}: ${stderr}`);
  }
});

test("a database that cannot be used ends every command with one sentence", { skip: withoutProc }, async () => {
  await using place = await openHubPlace();
  const env = { ...sharedSecrets, DATABASE_URL: `postgres://127.0.0.1:${await freePort()}/none` };
  const sentence =
    /^The database of DATABASE_URL cannot be used \([^\n]*ECONNREFUSED[^\n]*\): start it, or correct the URL\.\n$/;
  for (const typed of ["secrets reseal", "audit verify", "admin reset-password"]) {
    const { code, stderr } = await run(place, [...typed.split(" "), ...calls[typed]!], env);
    assert.equal(code, 1, typed);
    assert.match(stderr, sentence, typed);
  }
});

test("an unknown command, action or argument is named before the usage", { skip: withoutProc }, async () => {
  const config = loadConfig({}, { envFile: null });
  for (const [typed, sentence] of [
    ["admin reset-pasword", "There is no command admin reset-pasword."],
    ["admin", "admin needs a command."],
    ["secrets", "secrets needs a command."],
    ["admin reset-password a b", "The argument b is not expected."],
    ["admin reset-password --all", "The argument --all is not expected."],
    ["config PORT", "The argument PORT is not expected."],
    ["secrets rotate JWT_SECRET", "The argument JWT_SECRET is not expected."],
    ["secrets reseal now", "The argument now is not expected."],
    ["audit verify all", "The argument all is not expected."],
  ] as const) {
    const [name, ...args] = typed.split(" ");
    const command = await commands[name!]!();
    await assert.rejects(runCommand([name!, command], config, args, assert.fail), {
      name: "StartError",
      message: `${sentence}\n\n${command.usage}`,
    });
  }
  await using place = await openHubPlace();
  const { code, stdout, stderr } = await run(place, ["admin", "reset-pasword"], {});
  assert.deepEqual({ code, stdout }, { code: 1, stdout: "" });
  assert.match(stderr, /^There is no command admin reset-pasword\.\n\nUsage: npm start -- admin/);
});

test("secrets rotate names the variables to change, with an example", { skip: withoutProc }, async () => {
  await using place = await openHubPlace();
  const own = { ...sharedSecrets, DATABASE_URL: "postgres://127.0.0.1:1/none" };
  for (const [env, names, example] of [
    [own, "JWT_SECRET and ENCRYPTION_KEY come", "JWT_SECRET=<new>,<old>"],
    [
      { ENCRYPTION_KEY: own.ENCRYPTION_KEY, DATA_DIR: place.dataDir },
      "ENCRYPTION_KEY comes",
      "ENCRYPTION_KEY=<new>,<old>",
    ],
  ] as [Record<string, string>, string, string][]) {
    const { code, stderr } = await run(place, ["secrets", "rotate"], env);
    assert.equal(code, 1);
    assert.equal(
      stderr,
      `${names} from the configuration: put the new value in front of the old one there, as in ${example}. ` +
        "docs/guides/rotate-secrets.md says when to remove the old one.\n",
    );
  }
});

test("--version prints the version of package.json, which is that of the API's description", async () => {
  const read = (path: string) => JSON.parse(readFileSync(new URL(`../${path}`, import.meta.url), "utf8"));
  const { version } = read("package.json") as { version: string };
  assert.deepEqual(await run({ folder: "/" }, ["--version"], {}), { code: 0, stdout: `${version}\n`, stderr: "" });
  assert.equal(read("contract/openapi.json").info.version, version);
  assert.equal(read("server/package.json").version, version);
});
