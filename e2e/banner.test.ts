/** The lines that a start prints for pasting must work with that hub. */
import assert from "node:assert/strict";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { programPath, testsThatNeed } from "../server/src/testing/programs.ts";
import { startStockPostgres } from "../server/src/testing/stock-postgres.ts";
import { openCertificateFolder } from "../server/src/testing/test-certificate.ts";
import { createTestDatabase } from "../server/src/testing/test-database.ts";
import { adminPassword, sharedSecrets } from "./src/harness.ts";
import { openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { withoutProc } from "./src/processes.ts";
import { type Ran, runShell } from "./src/shell.ts";

const { test: withCurl } = testsThatNeed("curl");
const { test: withPostgres } = testsThatNeed(programPath("curl") === null ? "curl" : "postgres");
const asShipped = { SIMULATOR_PORT: "0", SIMULATOR_ENFORCE_WINDOW: "" };

/** Starts a hub, pastes the lines that it prints, and returns them with the output of the shell. */
async function paste(
  env: Record<string, string>,
  inTheShell = {},
): Promise<Ran & { said: string; dataDirMode: number }> {
  await using place = await openHubPlace({ ...asShipped, ...env });
  mkdirSync(place.dataDir, { mode: 0o755 });
  const hub = await startHubProcess(place);
  const said = hub.stdout();
  const folder = join(place.folder, "shell");
  mkdirSync(folder);
  const lines = said.split("\n").filter((line) => /^(TOKEN=|curl|sleep)/.test(line));
  const ran = await runShell(lines.join("\n"), folder, { env: inTheShell });
  assert.equal(ran.code, 0, ran.output);
  assert.equal(ran.requests.length, lines.length, "each line is one request");
  for (const { args, status } of ran.requests) assert.ok(status >= 200 && status < 300, `${status}: ${args}`);
  // It gives its partitions back: the next hub on the same database does not wait for the end of its leases.
  hub.kill("SIGTERM");
  await hub.ended;
  return { ...ran, said, dataDirMode: statSync(place.dataDir).mode & 0o777 };
}

withCurl(
  "with the embedded database and the simulator: they send a message that a real platform would accept too",
  async () => {
    const { output, said } = await paste({ ADMIN_PASSWORD: "" });
    assert.match(said, /"type":"template"/);
    assert.match(output, /"status":"accepted"[\s\S]*"data":\[\{[\s\S]*"hello_world"/);
  },
);

withPostgres("with another PostgreSQL: they show the connected accounts, and how to connect more", async () => {
  await using server = await startStockPostgres();
  const own = { ...sharedSecrets, DATABASE_URL: server.url };
  const alone = await paste(own, { ADMIN_PASSWORD: adminPassword });
  assert.doesNotMatch(alone.said, /v1\/messages/);
  assert.match(alone.said, /connect-a-whatsapp-number\.md[\s\S]*ROLES=all,simulator/);
  assert.match(alone.output, /^\{"data":\[\]/m);
  const simulated = await paste({ ...own, ROLES: "all,simulator" }, { ADMIN_PASSWORD: adminPassword });
  assert.match(simulated.output, /"status":"accepted"[\s\S]*"hello_world"/);
  // The simulator keeps its journal there.
  assert.equal(simulated.dataDirMode & 0o066, 0, "DATA_DIR is closed to other users");
});

withCurl("with a real number connected: they send nothing to a stranger", { skip: withoutProc }, async () => {
  await using place = await openHubPlace(asShipped);
  const first = await startHubProcess(place);
  const folder = join(place.folder, "shell");
  mkdirSync(folder);
  const [logIn] = /^TOKEN=.*$/m.exec(first.stdout())!;
  const json = `-H 'content-type: application/json' -H "authorization: Bearer $TOKEN"`;
  const account = `{"channel":"whatsapp","name":"Real","verify":false,"credentials":{"phone_number_id":"1","access_token":"EAA-a-real-token","app_secret":"a-real-secret","verify_token":"a-word"}}`;
  const ran = await runShell(
    `${logIn}
    for id in $(curl -s ${place.url}/v1/channel-accounts ${json} | grep -o '"channel_account_id":"[^"]*"' | cut -d'"' -f4); do
      curl -s -X DELETE ${place.url}/v1/channel-accounts/$id ${json}
    done
    curl -s ${place.url}/v1/channel-accounts ${json} -d '${account}'`,
    folder,
    { env: { ADMIN_PASSWORD: adminPassword } },
  );
  assert.deepEqual(
    ran.requests.map(({ status }) => status),
    [200, 200, 204, 204, 201],
  );
  first.kill("SIGTERM");
  await first.ended;
  const second = await startHubProcess(place);
  assert.doesNotMatch(second.stdout(), /v1\/messages/);
});

testsThatNeed(programPath("curl") === null ? "curl" : "openssl").test("with TLS", async () => {
  using certificates = openCertificateFolder();
  const { certFile, keyFile } = certificates.make("hub");
  await paste({ ADMIN_PASSWORD: "", TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile });
});

test("a process without the API prints no lines for pasting", { skip: withoutProc }, async () => {
  await using database = await createTestDatabase();
  const env = { ...sharedSecrets, DATABASE_URL: database.url, ROLES: "realtime" };
  await using place = await openHubPlace(env);
  const hub = await startHubProcess(place);
  assert.doesNotMatch(hub.stdout(), /curl|\/docs/);
});
