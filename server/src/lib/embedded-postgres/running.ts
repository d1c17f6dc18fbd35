import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { databaseRole, readPassword } from "./data-directory.ts";
import { connectionUrl } from "./endpoint.ts";
import { isServerOf, readPidFile } from "./pid-file.ts";

export function hasCluster(dataDir: string): boolean {
  return existsSync(join(dataDir, "postgres", "PG_VERSION"));
}

/** Null without a running hub, which may end at any moment. */
export function findRunningDatabase(dataDir: string): string | null {
  const directory = join(resolve(dataDir), "postgres");
  const file = readPidFile(directory);
  if (file === null || file.status !== "ready" || !isServerOf(file.pid, directory)) return null;
  return connectionUrl(file.endpoint, { user: databaseRole, password: readPassword(directory) }, "chat4all");
}
