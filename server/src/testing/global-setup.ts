/**
 * One PostgreSQL for a whole test run: `node --test --test-global-setup=server/src/testing/global-setup.ts`.
 * The runner calls these before the first test file starts and after the last one ended.
 */
import { prepareTemplate } from "./test-database.ts";
import { sharedServerVariable, startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer | undefined;

export async function globalSetup(): Promise<void> {
  if (process.env.TEST_DATABASE_URL) return;
  server = await startTestServer();
  process.env[sharedServerVariable] = server.url;
  await prepareTemplate(server.url);
}

export async function globalTeardown(): Promise<void> {
  await server?.stop();
}
