import pg from "pg";
import { poolMember } from "./pool-member.ts";
import { watchPool } from "./pool-watch.ts";

/** A pool that only the code that opened it may end. */
export type Pool = Pick<pg.Pool, "query" | "connect">;
export type PoolClient = pg.PoolClient;

declare const role: unique symbol;

/** The database role decides what statements may read and write; a pool of the owner may be used for any. */
export type PoolOf<Role> = Pool & { readonly [role]: (role: Role) => void };

export type Log = Record<"info" | "warn" | "error", (fields: object, message: string) => void>;

type PoolOptions = {
  url: string;
  size: number;
  applicationName: string;
  log: Log;
  /** 0: no limit. */
  statementTimeoutMs?: number;
};

const statementTimeoutMs = 30_000;
const connectTimeoutMs = 10_000;
const newConnectionTimeoutMs = 3_000;
/** A connection that is idle for so long is probed; the operating system gives up on it some seconds later. */
const keepAliveDelayMs = 5_000;
const idleTimeoutMs = 60_000;
const idleInTransactionTimeoutMs = 30_000;

/** `jit`, the default of PostgreSQL 15 to 17: compiling a short statement takes longer than running it. */
function connectionOptions({ url, applicationName }: Pick<PoolOptions, "url" | "applicationName">) {
  return {
    connectionString: withSettings(url, ["jit=off"]),
    application_name: applicationName,
    connectionTimeoutMillis: newConnectionTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveDelayMs,
  };
}

/** A connection, not yet open, to listen or hold a lock. The caller handles its errors. */
export function createClient({
  answerWithinMs = 0,
  ...options
}: Pick<PoolOptions, "url" | "applicationName"> & {
  answerWithinMs?: number;
}): pg.Client {
  return new pg.Client({ ...connectionOptions(options), query_timeout: answerWithinMs });
}

/** A connection that breaks is logged and replaced. `int8` is a number (an unsafe one throws), `numeric` a string. */
export function openPool<Role = unknown>(options: PoolOptions): pg.Pool & PoolOf<Role> {
  const { log, applicationName } = options;
  const pool = new pg.Pool({
    ...connectionOptions(options),
    Client: poolMember(newConnectionTimeoutMs, () =>
      log.error(
        { pool: applicationName },
        "bug: a database connection was released inside a transaction; it was closed",
      ),
    ),
    connectionTimeoutMillis: connectTimeoutMs,
    max: options.size,
    idleTimeoutMillis: idleTimeoutMs,
    statement_timeout: options.statementTimeoutMs ?? statementTimeoutMs,
    // A hanging server cannot end a statement.
    query_timeout: options.statementTimeoutMs === 0 ? 0 : (options.statementTimeoutMs ?? statementTimeoutMs) + 5_000,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
    types,
  });
  // Between two queries of a transaction only the client emits "error"; without a listener the process would end.
  pool.on("connect", (client) => {
    client.on("error", (error) => {
      if (!pool.ending) log.warn({ pool: applicationName, reason: error.message }, "database connection lost");
    });
  });
  pool.on("error", () => {});
  const watch = {
    url: options.url,
    applicationName: `${applicationName} watch`,
    answerWithinMs: newConnectionTimeoutMs,
  };
  watchPool(
    pool,
    () => createClient(watch),
    (connections) =>
      log.warn({ pool: applicationName, connections }, "the database does not respond: its connections were cut"),
  );
  return pool as pg.Pool & PoolOf<Role>;
}

/** Gives the connection back to its pool, or closes it after an error that may have left it unusable. */
export async function withConnection<T>(
  connect: () => Promise<PoolClient>,
  work: (client: PoolClient) => Promise<T>,
): Promise<T> {
  const client = await connect();
  try {
    const result = await work(client);
    client.release();
    return result;
  } catch (error) {
    client.release(isServerError(error) ? undefined : (error as Error));
    throw error;
  }
}

/** After an error of the commit itself the outcome is unknown, so repeat only work that is safe to run twice. */
export async function transaction<T>(pool: Pick<Pool, "connect">, work: (tx: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let isUsable = false;
  try {
    await client.query("begin");
    const result = await work(client);
    const { command } = await client.query("commit");
    isUsable = true;
    // PostgreSQL responds to the commit of a failed transaction with a rollback and no error.
    if (command !== "COMMIT") throw new Error("The transaction was rolled back: an error inside it was ignored.");
    return result;
  } catch (error) {
    if (!isUsable) isUsable = await rollback(client);
    throw error;
  } finally {
    client.release(!isUsable);
  }
}

async function rollback(client: PoolClient): Promise<boolean> {
  try {
    await client.query("rollback");
    return true;
  } catch {
    return false;
  }
}

/** A conflict with other transactions, or a lost or refused connection. Reads the causes too. */
export function isRetryableDbError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = "code" in error ? String(error.code) : "";
  if (retryableCodes.has(code) || code.startsWith("08") || isMissingSocket(error)) return true;
  return lostConnection.test(error.message) || isRetryableDbError(error.cause);
}

/** An error of the server that leaves the connection usable. What ran outside of a transaction was not committed. */
export function isServerError(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.severity === "ERROR";
}

export function isUniqueViolation(error: unknown): error is pg.DatabaseError {
  return error instanceof pg.DatabaseError && error.code === "23505";
}

/** SQLSTATEs (source: PostgreSQL 18, appendix A) and system errors of a socket. */
const retryableCodes = new Set([
  ...["40001", "40P01", "55P03", "25P03", "25P04", "53300", "57P01", "57P02", "57P03", "57P05"],
  ...["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "EAI_AGAIN"],
]);

/** The socket file is missing while the server restarts. */
function isMissingSocket(error: NodeJS.ErrnoException): boolean {
  return error.code === "ENOENT" && error.syscall === "connect";
}

/** pg gives these errors no code. Source: pg 8, `client.js` and `pg-pool/index.js`. */
export const lostConnection =
  /^(Connection terminated|timeout expired|timeout exceeded when trying to connect|Client has encountered a connection error|Client was closed|Query read timeout)/;

const types: pg.CustomTypesConfig = {
  getTypeParser(oid: number, format?: "text" | "binary") {
    if (format !== "binary" && oid === pg.types.builtins.INT8) return safeInteger;
    if (format !== "binary" && Number(oid) === int8ArrayOid) return safeIntegers;
    return pg.types.getTypeParser(oid, format);
  },
};

const int8ArrayOid = 1016;
const int8ArrayAsText = pg.types.getTypeParser(int8ArrayOid as number as never, "text") as (
  text: string,
) => (string | null)[];

function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`The bigint ${text} does not fit a number.`);
  return value;
}

function safeIntegers(text: string): (number | null)[] {
  return int8ArrayAsText(text).map((item) => (item === null ? null : safeInteger(item)));
}

export function withSettings(url: string, settings: readonly string[]): string {
  const changed = new URL(url);
  const own = changed.searchParams.get("options");
  changed.searchParams.set("options", [own ?? "", ...settings.map((setting) => `-c ${setting}`)].join(" ").trim());
  return changed.href;
}
