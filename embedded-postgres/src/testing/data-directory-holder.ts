/**
 * Holds a data directory, in a process that tests kill. `node data-directory-holder.ts <dataDir>` prints
 * its database, or the error, as one line of JSON, and stops on SIGTERM.
 */
import { startEmbeddedPostgres } from "../embedded-postgres.ts";

const quiet = { info() {}, warn() {} };
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
