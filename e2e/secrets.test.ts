import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openClient } from "../client/src/client.ts";
import { adminPassword } from "./src/harness.ts";
import { type HubPlace, openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { withoutProc } from "./src/processes.ts";

const program = fileURLToPath(new URL("../server/src/main.ts", import.meta.url));

test(
  "secrets are replaced without logging users out or losing credentials, and the old ones stop working",
  { skip: withoutProc },
  async () => {
    await using place = await openHubPlace({ JWT_ALG: "EdDSA" });
    const first = await startHubProcess(place);
    const admin = openClient({ url: place.url, credential: { username: "admin", password: adminPassword } });
    const token = await logIn(place);
    const accounts = (await admin.channelAccounts.list()).data.length;
    assert.ok(accounts > 0, "the simulated accounts are connected");
    await stop(first);

    const before = secretsOf(place);
    assert.match(await secrets(place, "rotate"), /Restart the hub/);
    const rotated = secretsOf(place);
    assert.deepEqual(rotated, both(rotated, before));

    const second = await startHubProcess(place);
    assert.equal(await statusOf(place, token), 200, "the token from before");
    const newer = await logIn(place);
    assert.notEqual(kidOf(newer), kidOf(token));
    const { keys } = (await (await fetch(`${place.url}/.well-known/jwks.json`)).json()) as { keys: { kid: string }[] };
    assert.deepEqual(
      keys.map(({ kid }) => kid),
      [kidOf(newer), kidOf(token)],
    );
    await assert.rejects(secrets(place, "reseal"), /is in use by another Chat4All/);
    await stop(second);
    assert.match(await secrets(place, "reseal"), /; 1 older forgotten/);
    assert.equal(secretsOf(place).encryption_key, rotated.encryption_key!.split(",")[0]);

    // Once more: what the first key signed is refused from then on.
    await secrets(place, "rotate");
    await secrets(place, "reseal");
    const third = await startHubProcess(place);
    assert.deepEqual([await statusOf(place, token), await statusOf(place, newer)], [401, 200]);
    const again = openClient({ url: place.url, credential: { token: newer } });
    const { data } = await again.channelAccounts.list();
    assert.equal(data.length, accounts);
    for (const { channel_account_id } of data) {
      const { ok } = await verify(place, newer, channel_account_id);
      assert.ok(ok, "its credentials still open, and work");
    }
    await stop(third);

    // A file of another hub, or an old backup of it.
    const path = join(place.dataDir, "secrets.json");
    const right = readFileSync(path, "utf8");
    writeFileSync(path, JSON.stringify({ ...JSON.parse(right), encryption_key: before.encryption_key }));
    const wrong = place.spawn();
    await assert.rejects(wrong.ready);
    assert.deepEqual(await wrong.ended, { code: 1, signal: null });
    assert.match(wrong.stderr(), /ENCRYPTION_KEY is not the key .*channel_accounts\.credentials_sealed/);
    assert.equal(wrong.stderr().trim().split("\n").length, 1);
  },
);

type Stored = Record<string, string>;

function secretsOf(place: HubPlace): Stored {
  return JSON.parse(readFileSync(join(place.dataDir, "secrets.json"), "utf8"));
}

/** New secrets in front of those of before. */
function both(now: Stored, before: Stored): Stored {
  return Object.fromEntries(Object.keys(before).map((name) => [name, `${now[name]!.split(",")[0]},${before[name]}`]));
}

/** What `npm start -- secrets …` prints. */
function secrets(place: HubPlace, command: string): Promise<string> {
  const env = { PATH: process.env.PATH, DATA_DIR: place.dataDir };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [program, "secrets", command], { cwd: place.folder, env }, (error, stdout, stderr) =>
      error === null ? resolve(stdout) : reject(new Error(`${command} failed: ${stdout}${stderr}`)),
    );
  });
}

async function stop(hub: Awaited<ReturnType<typeof startHubProcess>>): Promise<void> {
  hub.kill("SIGTERM");
  assert.deepEqual(await hub.ended, { code: 0, signal: null });
}

async function logIn({ url }: HubPlace): Promise<string> {
  const body = JSON.stringify({ username: "admin", password: adminPassword });
  const answer = await fetch(`${url}/auth/token`, {
    method: "POST",
    body,
    headers: { "content-type": "application/json" },
  });
  return ((await answer.json()) as { access_token: string }).access_token;
}

function withToken(token: string) {
  return { headers: { authorization: `Bearer ${token}` } };
}

async function statusOf({ url }: HubPlace, token: string): Promise<number> {
  return (await fetch(`${url}/v1/me`, withToken(token))).status;
}

function verify({ url }: HubPlace, token: string, id: string) {
  return fetch(`${url}/v1/channel-accounts/${id}/verify`, { method: "POST", ...withToken(token) });
}

function kidOf(token: string): string {
  return JSON.parse(Buffer.from(token.split(".")[0]!, "base64url").toString()).kid;
}
