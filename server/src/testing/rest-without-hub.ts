import { pino } from "pino";
import { connectorFor } from "../connectors/registry.ts";
import type { Context } from "../context.ts";
import type { App } from "../http/app.ts";
import { openRest } from "../rest/rest.ts";

/** The routes without a database. All schemas are compiled; no route may be called. */
export async function openRestWithoutHub(): Promise<App> {
  const nothing = new Proxy({}, { get: (_target, name) => (name === "then" ? undefined : absent) }) as never;
  const context: Partial<Context> = {
    config: {
      identity: { registration: "open" },
      http: { publicUrl: "http://localhost:8080", corsOrigins: [] as string[], tls: null, trustedProxies: null },
      limits: { byUser: null, byAddress: null },
    } as Context["config"],
    log: pino({ level: "silent" }),
    clock: { now: () => 0, elapsed: () => 0, after: () => () => {} },
    dbOf: absent,
    identityDb: nothing,
    hasher: nothing,
    tokens: nothing,
    files: { store: { handle: null } } as never,
    accounts: nothing,
    acceptor: nothing,
    secretBox: nothing,
    bus: nothing,
    connectorIo: nothing,
    inboundWebhooks: nothing,
    signals: nothing,
    authenticator: { authenticate: absent, recheck: absent, forget: absent },
    healthOf: absent,
    troubles: nothing,
    backlog: nothing,
    connectorFor,
    capabilitiesOf: (channel) => connectorFor(channel)?.capabilities ?? null,
  };
  const operations = { dependencies: [], phase: () => "ready" as const };
  return openRest(context as Context, { operations, admitStream: null, hasApi: true, compilesAtStart: true });
}

function absent(): never {
  throw new Error("There is no hub behind these routes.");
}
