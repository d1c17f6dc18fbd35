import { pino } from "pino";
import { contract } from "../../../contract/src/contract.ts";
import { type DocumentInfo, writeDocument } from "../../../contract/src/document.ts";
import { webhooks } from "../../../contract/src/events.ts";
import { connectorFor } from "../connectors/registry.ts";
import type { Context } from "../context.ts";
import type { App } from "../http/server.ts";
import { openRest } from "./rest.ts";

const methods = ["get", "post", "put", "patch", "delete"] as const;

/** The routes without a database, for what their schemas say. All schemas are compiled; no route may be called. */
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
    accounts: nothing,
    acceptor: nothing,
    secretBox: nothing,
    bus: nothing,
    connectorIo: nothing,
    webhookStore: nothing,
    signals: nothing,
    authenticator: { authenticate: absent, recheck: absent, forget: absent },
    healthOf: absent,
    connectorFor,
    capabilitiesOf: (channel) => connectorFor(channel)?.capabilities ?? null,
  };
  const operations = { dependencies: [], phase: () => "ready" as const };
  return openRest(context as Context, { operations, streams: null, hasApi: true, describesItself: true });
}

function absent(): never {
  throw new Error("There is no hub behind these routes.");
}

interface OpenApiDocument {
  paths?: Record<string, Record<string, object>>;
}

/** The OpenAPI document of the hub as it is committed: paths in the order of the alphabet, each with its methods in one order. */
export async function writeContract(): Promise<string> {
  const app = await openRestWithoutHub();
  try {
    await app.ready();
    const { paths = {}, ...described } = app.swagger() as OpenApiDocument;
    const document = writeDocument((described as { info: DocumentInfo }).info, contract, webhooks) as OpenApiDocument;
    for (const methods of Object.values(paths)) {
      for (const operation of Object.values(methods))
        if (!("security" in operation)) Object.assign(operation, { security: [] });
    }
    for (const [path, methods] of Object.entries(document.paths!)) paths[path] = { ...paths[path], ...methods };
    const sorted = Object.keys(paths)
      .sort()
      .map((path) => [path, inOrder(paths[path]!)]);
    return `${JSON.stringify({ ...document, paths: Object.fromEntries(sorted) }, null, 2)}\n`;
  } finally {
    await app.close();
  }
}

function inOrder(operations: Record<string, unknown>): Record<string, unknown> {
  const known = methods.filter((method) => method in operations);
  const others = Object.keys(operations).filter((name) => !known.includes(name as "get"));
  return Object.fromEntries([...known, ...others].map((name) => [name, operations[name]]));
}
