/**
 * For tests: a hub that does nothing but hold a data directory, to be run as a process of its own and killed.
 * `node hub-process.ts <dataDir>` prints one line of JSON, what it got or what went wrong, and stops on SIGTERM.
 */
import { startEmbeddedPostgres } from "./embedded-postgres.ts";

const quiet = { info() {}, warn() {}, error() {} };
const stop = new Promise((resolve) => process.once("SIGTERM", resolve));
const alive = setInterval(() => {}, 60_000);
try {
  const postgres = await startEmbeddedPostgres({
    dataDir: process.argv[2]!,
    log: quiet,
    onFailed: () => process.exit(3),
  });
  console.log(JSON.stringify({ url: postgres.url, adopted: postgres.adopted, uid: process.getuid?.() }));
  await stop;
  await postgres.stop();
} catch (error) {
  const { name, message } = error as Error;
  console.log(JSON.stringify({ name, message }));
  process.exitCode = 1;
}
clearInterval(alive);
