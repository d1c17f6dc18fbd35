import { rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { freePort } from "../free-port.ts";

export type Endpoint = { kind: "socket"; folder: string; port: number } | { kind: "tcp"; host: string; port: number };

/** A socket is faster and takes no port. Windows, long paths and some file systems need a port. */
export async function chooseEndpoint(directory: string): Promise<Endpoint> {
  if (await canHoldSocket(directory)) return { kind: "socket", folder: directory, port: socketNumber };
  return { kind: "tcp", host: "127.0.0.1", port: await freePort() };
}

export const databaseRole = "chat4all";

export function connectionUrl(endpoint: Endpoint, password: string): string {
  const host = endpoint.kind === "socket" ? encodeURIComponent(endpoint.folder) : endpoint.host;
  return `postgres://${databaseRole}:${password}@${host}:${endpoint.port}/chat4all`;
}

const socketNumber = 5432;

/** The limit of macOS, the shortest, with the zero at its end. Source: sys/un.h. */
const longestSocketPathBytes = 103;

async function canHoldSocket(directory: string): Promise<boolean> {
  if (process.platform === "win32") return false;
  const path = join(directory, `.s.PGSQL.${socketNumber}`);
  if (Buffer.byteLength(path) > longestSocketPathBytes) return false;
  const trial = join(directory, ".trial");
  rmSync(trial, { force: true });
  return canListen(trial);
}

function canListen(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(path, () => server.close(() => resolve(true)));
  });
}
