import type { Config } from "./config/config.ts";
import type { Context } from "./context.ts";
import { openClientAddress } from "./http/client-address.ts";
import { handleOf, type TakenPort } from "./lib/taken-port.ts";
import { dependenciesOf, type Phase } from "./readiness.ts";
import { openRealtime, refuseSockets } from "./realtime/realtime.ts";
import { openRest } from "./rest/rest.ts";

export interface HttpServerOptions {
  /** Taken at the start of the hub, so that a start that cannot succeed leaves nothing behind. */
  port: TakenPort;
  phase: () => Phase;
}

/** The HTTP server with all that listens on its port: REST, sockets, streams, probes and docs, by the process's roles. */
export async function openHttpServer(
  context: Context,
  { port, phase }: HttpServerOptions,
): Promise<{ close(): Promise<void> }> {
  const { http, roles, events } = context.config;
  const clientAddress = openClientAddress(http.trustedProxies);
  const realtime = roles.includes("realtime")
    ? openRealtime(context, { origins: http, maxClients: events.maxClients, limits: events.limits, clientAddress })
    : null;
  const app = await openRest(context, {
    operations: { dependencies: dependenciesOf(context), phase },
    admitStream: realtime?.admitStream ?? null,
    hasApi: roles.includes("api"),
  });
  if (realtime === null) refuseSockets(app.server);
  else realtime.attach(app.server);
  // Fastify passes the options on to node:net, but its types leave the handle out.
  await app.listen({ port: port.port, host: http.host, ...{ _handle: handleOf(port.server) } });
  return {
    async close() {
      // The server ends when its last socket does.
      await realtime?.close();
      await app.close();
    },
  };
}

/** Where this process reaches its own HTTP server, without a slash at the end. */
export function urlOf({ host, tls }: Pick<Config["http"], "host" | "tls">, port: number): string {
  const isEverywhere = host === "0.0.0.0" || host === "::";
  return `${tls === null ? "http" : "https"}://${isEverywhere ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host}:${port}`;
}
