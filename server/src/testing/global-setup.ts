/**
 * What a whole test run shares: `node --test --test-global-setup=server/src/testing/global-setup.ts`. It installs the
 * programs that tests need, measures how patient they must be, starts one PostgreSQL, and limits the time of each file.
 * The runner calls these before the first test file starts and after the last one ended.
 */
import { fileURLToPath } from "node:url";
import { type FileLimits, limitTestFiles } from "./file-limits.ts";
import { measurePatience, patienceVariable } from "./patience.ts";
import { installMissingPrograms, missingPrograms } from "./programs.ts";
import { prepareTemplate } from "./test-database.ts";
import { sharedServerVariable, startTestServer, type TestServer } from "./test-server.ts";

/** How long a test file may take on a machine of usual speed, in milliseconds. */
const fileLimitMs = 300_000;
/** Compiled code of all test files: loading it again would take a tenth of the run. */
const compileCache = fileURLToPath(new URL("../../../node_modules/.cache/chat4all", import.meta.url));

let server: TestServer | undefined;
let limits: FileLimits | undefined;

export async function globalSetup(): Promise<void> {
  installMissingPrograms(say);
  const patience = await measurePatience();
  process.env[patienceVariable] ??= String(patience);
  process.env.NODE_COMPILE_CACHE ??= compileCache;
  if (patience >= 2) say(`This machine is slow or busy: tests wait up to ${patience} times longer than usual.`);
  limits = limitTestFiles({ limitMs: fileLimitMs * Number(process.env[patienceVariable]), say });
  if (process.env.TEST_DATABASE_URL) return;
  server = await startTestServer();
  process.env[sharedServerVariable] = server.url;
  await prepareTemplate(server.url);
}

export async function globalTeardown(): Promise<void> {
  // A file that was stopped or left a process running counts as a failure, even if its tests passed.
  if (((await limits?.end()) ?? 0) > 0) process.exitCode = 1;
  await server?.stop();
  for (const line of missingPrograms()) say(line);
}

/** To stderr, because the reporter writes to stdout. */
function say(line: string): void {
  console.error(`tests: ${line}`);
}
