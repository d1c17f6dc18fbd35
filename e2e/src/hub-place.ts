import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, openClient } from "../../client/src/client.ts";
import { freePort } from "../../server/src/testing/free-port.ts";
import { type HubProcess, spawnHub } from "../../server/src/testing/hub-process.ts";
import { checkAnswersOf, requireValidAnswers } from "./checked-answers.ts";
import { adminPassword, noLimits, openPlatformsEnv, quickRetries } from "./harness.ts";
import { killAll, noneLeftIn, processesIn } from "./processes.ts";

/** What a process was started with, to start it again the same way. */
export interface HubPlace extends AsyncDisposable {
  /** Where its processes run; nothing else does. */
  folder: string;
  dataDir: string;
  port: number;
  url: string;
  /** `main.ts` as `npm start` runs it, or one of its commands. Does not wait for it. */
  spawn(env?: Record<string, string>, args?: readonly string[]): HubProcess;
  /** Kills the processes that still run there, and removes the folder. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** A folder and a free port for hubs in processes of their own. `env` names what is not the same for every test. */
export async function openHubPlace(env: Record<string, string> = {}): Promise<HubPlace> {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), "chat4all-e2e-"));
  const dataDir = join(folder, "data");
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  checkAnswersOf(url);
  return {
    folder,
    dataDir,
    port,
    url,
    spawn: (more = {}, args = []) =>
      spawnHub({
        // No `.env` of this checkout counts there, and its processes are known by it.
        cwd: folder,
        args,
        env: {
          ...quickRetries,
          ...noLimits,
          ...openPlatformsEnv,
          PORT: String(port),
          // The default may be in use by another test file, or by a hub of the developer.
          SIMULATOR_PORT: "0",
          DATA_DIR: dataDir,
          ADMIN_PASSWORD: adminPassword,
          LOG_LEVEL: "warn",
          ...env,
          ...more,
        },
      }),
    async [Symbol.asyncDispose]() {
      killAll(processesIn(folder));
      await noneLeftIn(folder);
      rmSync(folder, { recursive: true, force: true });
      requireValidAnswers();
    },
  };
}

/** A ready hub in its own process. It ends with the place. */
export async function startHubProcess(place: HubPlace, env?: Record<string, string>): Promise<HubProcess> {
  const hub = place.spawn(env);
  await hub.ready;
  return hub;
}

/** A program with an API key: its token outlives every restart of the hub that listens there. */
export async function programOf(place: HubPlace): Promise<Client> {
  return openClient({ url: place.url, credential: { token: await programTokenOf(place) } });
}

export async function programTokenOf({ url }: HubPlace): Promise<string> {
  const admin = openClient({ url, credential: { username: "admin", password: adminPassword } });
  return (await admin.apiKeys.create({ name: "program", scopes: ["*"] })).key;
}
