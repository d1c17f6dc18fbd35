import pg from "pg";
import { poolMember } from "./pool-member.ts";
import { watchPool } from "./pool-watch.ts";

/** Where statements and transactions run; who opened it, and not who uses it, ends it. */
export type Pool = Pick<pg.Pool, "query" | "connect">;
export type PoolClient = pg.PoolClient;

declare const role: unique symbol;

/**
 * A pool whose connections have one of these database roles, which decide what its statements may read and write. Opened
 * without a role, as the owner of the database, it may be used for any.
 */
export type PoolOf<Role> = Pool & { readonly [role]: (role: Role) => void };

/** What the functions here need of a logger; pino's is one. */
export type Log = Record<"info" | "warn" | "error", (fields: object, message: string) => void>;

export type PoolOptions = {
  url: string;
  /** The most connections it opens. */
  size: number;
  /** How operators see these connections in `pg_stat_activity`. */
  applicationName: string;
  log: Log;
  /** 0: no limit. */
  statementTimeoutMs?: number;
};

export const statementTimeoutMs = 30_000;
/** How long a caller waits for a connection, a free one or a new one. */
export const connectTimeoutMs = 10_000;
/** How long the server may take to accept a new connection. */
const newConnectionTimeoutMs = 3_000;
/** Idle time after which a connection is probed; the operating system gives up on it some seconds later. */
const keepAliveDelayMs = 5_000;
const idleTimeoutMs = 60_000;
const idleInTransactionTimeoutMs = 30_000;

/**
 * The settings of every connection of the hub. The statements are short and many, so that compiling
 * one (`jit`, which PostgreSQL 15 to 17 does by default) takes far longer than running it.
 */
function connectionOptions({ url, applicationName }: Pick<PoolOptions, "url" | "applicationName">) {
  return {
    connectionString: withSettings(url, ["jit=off"]),
    application_name: applicationName,
    connectionTimeoutMillis: newConnectionTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveDelayMs,
  };
}

/**
 * One connection, not yet open, for what a pool cannot do: to listen, or to hold a lock. The caller handles its errors.
 */
export function createClient({
  answerWithinMs = 0,
  ...options
}: Pick<PoolOptions, "url" | "applicationName"> & {
  /** For each statement; 0: no limit. */
  answerWithinMs?: number;
}): pg.Client {
  return new pg.Client({ ...connectionOptions(options), query_timeout: answerWithinMs });
}

/**
 * A pool that outlives its connections: one that breaks is logged and replaced, and only the query on it fails. One
 * that is released inside a transaction is closed and logged as a bug. `int8` is read as a number and an unsafe one
 * throws; `timestamptz` is a `Date`, `numeric` a string. The caller closes it with `end()`.
 */
export function openPool<Role = unknown>(options: PoolOptions): pg.Pool & PoolOf<Role> {
  const { log, applicationName } = options;
  const pool = new pg.Pool({
    ...connectionOptions(options),
    Client: poolMember({
      connectTimeoutMs: newConnectionTimeoutMs,
      onLeftOpen: () =>
        log.error(
          { pool: applicationName },
          "bug: a database connection was released inside a transaction; it was closed",
        ),
    }),
    connectionTimeoutMillis: connectTimeoutMs,
    max: options.size,
    idleTimeoutMillis: idleTimeoutMs,
    statement_timeout: options.statementTimeoutMs ?? statementTimeoutMs,
    // A server that hangs cannot end a statement by itself.
    query_timeout: options.statementTimeoutMs === 0 ? 0 : (options.statementTimeoutMs ?? statementTimeoutMs) + 5_000,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
    types,
  });
  // A connection that breaks emits "error" on its client, also between two queries of a transaction, where nobody
  // else listens; without a listener that would end the process.
  pool.on("connect", (client) => {
    client.on("error", (error) => {
      if (!pool.ending) log.warn({ pool: applicationName, reason: error.message }, "database connection lost");
    });
  });
  pool.on("error", () => {});
  watchPool({
    pool,
    createClient: () => {
      const { url } = options;
      return createClient({ url, applicationName: `${applicationName} watch`, answerWithinMs: newConnectionTimeoutMs });
    },
    onCut: (count) =>
      log.warn({ pool: applicationName, connections: count }, "the database does not answer: its connections were cut"),
  });
  return pool as pg.Pool & PoolOf<Role>;
}

/**
 * Runs `work` in one transaction: committed when it returns, rolled back when it throws, and its error is thrown on.
 * An error of the commit itself leaves open whether it happened; only work that is safe to run twice may be repeated.
 */
export async function transaction<T>(pool: Pick<Pool, "connect">, work: (tx: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let isUsable = false;
  try {
    await client.query("begin");
    const result = await work(client);
    const { command } = await client.query("commit");
    isUsable = true;
    // PostgreSQL answers the commit of a failed transaction with a rollback, and no error.
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

/**
 * Did it fail for a passing reason (a conflict with other transactions, a lost or refused connection)? The same
 * work, if it is safe to run twice, can succeed when tried again. Looks through `cause`.
 */
export function isRetryableDbError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = "code" in error ? String(error.code) : "";
  if (retryableCodes.has(code) || code.startsWith("08") || isMissingSocket(error)) return true;
  return lostConnection.test(error.message) || isRetryableDbError(error.cause);
}

/** Whether a row with the same key was there. Source: PostgreSQL 18, appendix A. */
export function isUniqueViolation(error: unknown): error is pg.DatabaseError {
  return error instanceof pg.DatabaseError && error.code === "23505";
}

/** Source: PostgreSQL 18, appendix A; below the SQL states, the system errors of a socket. */
const retryableCodes = new Set([
  ...["40001", "40P01", "55P03", "25P03", "25P04", "53300", "57P01", "57P02", "57P03", "57P05"],
  ...["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "EAI_AGAIN"],
]);

/** The socket file of a server that is just starting again. */
function isMissingSocket(error: NodeJS.ErrnoException): boolean {
  return error.code === "ENOENT" && error.syscall === "connect";
}

/** pg gives these errors no code. Source: pg 8, `client.js` and `pg-pool/index.js`. */
export const lostConnection =
  /^(Connection terminated|timeout expired|timeout exceeded when trying to connect|Client has encountered a connection error|Client was closed|Query read timeout)/;

/** The converters of this pool only; the global ones of `pg` stay as they are. */
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

/** The same URL, whose connections have these settings besides those that it asks for itself. */
export function withSettings(url: string, settings: readonly string[]): string {
  const changed = new URL(url);
  const own = changed.searchParams.get("options");
  changed.searchParams.set("options", [own ?? "", ...settings.map((setting) => `-c ${setting}`)].join(" ").trim());
  return changed.href;
}
