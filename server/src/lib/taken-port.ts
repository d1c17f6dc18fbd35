import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { StartError } from "./start-error.ts";

/** A port that is ours before anything listens on it: connections are closed until a server takes it over. */
export interface TakenPort extends AsyncDisposable {
  /** Hand it to `listen` of a server, or to another process. */
  readonly server: Server;
  readonly port: number;
}

/** Binds at once. `setting` names the environment variable in the `StartError`, which says what is wrong. */
export async function takePort(
  address: { host: string; port: number },
  setting: { host?: string; port: string },
): Promise<TakenPort> {
  const server = createServer((socket) => socket.destroy());
  try {
    server.listen(address);
    await once(server, "listening");
  } catch (error) {
    throw new StartError(explain(error as NodeJS.ErrnoException, address, setting), { cause: error });
  }
  return {
    server,
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/**
 * What `listen` of another server in this process takes to take over the socket of this one, which it then owns.
 * Source: https://nodejs.org/api/net.html#serverlistenhandle-backlog-callback
 */
export function handleOf(server: Server): object {
  return (server as unknown as { _handle: object })._handle;
}

function explain(
  { code, message }: NodeJS.ErrnoException,
  { host, port }: { host: string; port: number },
  setting: { host?: string; port: string },
): string {
  if (code === "EADDRINUSE") {
    return `Port ${port} on ${host} is taken by another program: end it, or set ${setting.port} to another.`;
  }
  if (code === "EACCES") return `Port ${port} may not be opened by this user: set ${setting.port} to one above 1023.`;
  if (setting.host !== undefined && (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")) {
    return `${setting.host} ${host} is no address of this machine: set ${setting.host} to one.`;
  }
  return `The hub cannot listen on ${host}:${port}: ${message}.`;
}
