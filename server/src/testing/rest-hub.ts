import type { AddressInfo } from "node:net";
import { type Logger, pino } from "pino";
import { openDatabases } from "../databases.ts";
import type { App } from "../http/app.ts";
import { openRestServer, type RestOptions } from "../http/server.ts";
import { openTestPool } from "./test-people.ts";

/** A response as a test reads it. Bodies are checked by the assertions on them. */
// biome-ignore lint/suspicious/noExplicitAny: a test asserts on the body, of any type
export type Answer = { status: number; headers: Headers; body: any };

interface CallOptions {
  /** A string is sent as it is. */
  body?: unknown;
  token?: string | undefined;
  idempotencyKey?: string;
  /** The client's IP address, as the proxy of a hub with `trustedProxies` names it. */
  from?: string;
}

const databasePoolSize = 12;

/**
 * What every test of routes needs: a database, and HTTP servers over it with the routes that the test is about. `more` is
 * for what the caller opens as well; all is closed together, the newest first.
 */
export async function openRestHub(log: Logger = pino({ level: process.env.TEST_LOG_LEVEL ?? "silent" })) {
  await using stack = new AsyncDisposableStack();
  const { pool, url: databaseUrl } = stack.use(await openTestPool());
  const databases = stack.use(openDatabases({ url: databaseUrl, size: databasePoolSize, log }));
  const more = stack.move();
  return {
    log,
    /** Of the owner of the database, who sees everything. */
    db: pool,
    databaseUrl,
    databases,
    more,
    /** A process of the hub, as far as memory is concerned, on a real port. */
    async open(
      options: Pick<RestOptions, "authenticate" | "trustedProxies">,
      addRoutes: (app: App) => unknown | Promise<unknown>,
    ) {
      const app = more.adopt(await openRestServer({ log, dbOf: databases.dbOf, ...options }), (opened) =>
        opened.close(),
      );
      await addRoutes(app);
      await app.listen({ port: 0, host: "127.0.0.1" });
      const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
      return { app, url, call: callerOf(url) };
    },
    [Symbol.asyncDispose]: () => more.disposeAsync(),
  };
}

/** `call("POST /auth/token", { body })`, over real HTTP. */
function callerOf(url: string) {
  return async function call(target: string, { body, token, idempotencyKey, from }: CallOptions = {}): Promise<Answer> {
    const [method, path] = target.split(" ") as [string, string];
    const headers: Record<string, string> = {};
    if (body !== undefined) headers["content-type"] = "application/json";
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    if (idempotencyKey !== undefined) headers["idempotency-key"] = idempotencyKey;
    if (from !== undefined) headers["x-forwarded-for"] = from;
    const sent = body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) };
    const answer = await fetch(url + path, { method, headers, ...sent });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, body: text === "" ? null : JSON.parse(text) };
  };
}
