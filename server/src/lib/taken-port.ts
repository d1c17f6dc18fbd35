import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { StartError } from "./start-error.ts";

/** A port that this process holds until its server listens; connections are closed until then. */
export interface TakenPort extends AsyncDisposable {
  readonly server: Server;
  readonly port: number;
}

interface Setting {
  host?: string;
  port: string;
  taken?: { key: string; port: number | null };
}

export async function takePort(address: { host: string; port: number }, setting: Setting): Promise<TakenPort> {
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

/** Another server of this process listens on it and then owns the socket. Source: Node.js, `server.listen(handle)`. */
export function handleOf(server: Server): object {
  return (server as unknown as { _handle: object })._handle;
}

function explain(
  { code, message }: NodeJS.ErrnoException,
  { host, port }: { host: string; port: number },
  setting: Setting,
): string {
  if (code === "EADDRINUSE" && setting.taken?.port === port) {
    return `${setting.taken.key} and ${setting.port} are both ${port}: set one of them to another port.`;
  }
  if (code === "EADDRINUSE") {
    return `Port ${port} on ${host} is taken by another program: end it, or set ${setting.port} to another.`;
  }
  if (code === "EACCES") return `Port ${port} may not be opened by this user: set ${setting.port} to one above 1023.`;
  if (setting.host !== undefined && (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")) {
    return `${setting.host} is ${host}, which is no IP address of this machine: set it to one.`;
  }
  return `The hub cannot listen on ${host}:${port}: ${message}.`;
}
