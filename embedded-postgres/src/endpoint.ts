import { once } from "node:events";
import { rmSync } from "node:fs";
import { type AddressInfo, createServer, type ListenOptions } from "node:net";
import { join } from "node:path";

export type Endpoint = { kind: "socket"; folder: string; port: number } | { kind: "tcp"; host: string; port: number };

/** A socket is faster and takes no port. Windows, long paths and some file systems need a port. */
export async function chooseEndpoint(directory: string): Promise<Endpoint> {
  if (await canHoldSocket(directory)) return { kind: "socket", folder: directory, port: socketNumber };
  return { kind: "tcp", host: loopback, port: await freePort() };
}

/** A TCP port of 127.0.0.1 that was free a moment ago: another process may take it first. */
export async function freePort(): Promise<number> {
  const { port } = (await listenOnce({ host: loopback, port: 0 })) as AddressInfo;
  return port;
}

export const databaseRole = "chat4all";

export function connectionUrl(endpoint: Endpoint, password: string): string {
  const host = endpoint.kind === "socket" ? encodeURIComponent(endpoint.folder) : endpoint.host;
  return `postgres://${databaseRole}:${password}@${host}:${endpoint.port}/chat4all`;
}

const loopback = "127.0.0.1";
const socketNumber = 5432;

/** The limit of macOS, the shortest, with the zero at its end. Source: sys/un.h. */
const longestSocketPathBytes = 103;

async function canHoldSocket(directory: string): Promise<boolean> {
  if (process.platform === "win32") return false;
  const path = join(directory, `.s.PGSQL.${socketNumber}`);
  if (Buffer.byteLength(path) > longestSocketPathBytes) return false;
  const trial = join(directory, ".trial");
  rmSync(trial, { force: true });
  return listenOnce({ path: trial }).then(
    () => true,
    () => false,
  );
}

async function listenOnce(where: ListenOptions): Promise<AddressInfo | string | null> {
  const server = createServer().listen(where);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return address;
}
