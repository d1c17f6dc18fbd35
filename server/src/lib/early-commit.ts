import type { QueryConfig, QueryResult, QueryResultRow } from "pg";
import { type Pool, withConnection } from "./postgres.ts";

/**
 * SQL, in a statement of `queryEarly`: its commit does not wait for durable storage, so its locks end some milliseconds
 * earlier.
 */
export const commitsEarly = "set_config('synchronous_commit', 'off', true)";

/**
 * SQL, in a statement that others act upon outside of the database, or remember: all that it reads is durable when it
 * returns. Without rows it is not evaluated.
 */
export const isDurable = "(SELECT make_durable()) AS is_durable";

/**
 * Resolves once the statement's commit is on durable storage, though others see it before. On the same connection, because
 * that ends with a crash of the server: a new one does not show what was lost. After an error it may have committed,
 * unless `isServerError`.
 */
export function queryEarly<Row extends QueryResultRow>(
  db: Pick<Pool, "connect">,
  statement: QueryConfig,
): Promise<QueryResult<Row>> {
  return withConnection(
    () => db.connect(),
    async (client) => {
      const result = await client.query<Row>(statement);
      await client.query(flush).catch((cause) => {
        throw new Error("a commit may not be durable", { cause });
      });
      return result;
    },
  );
}

const flush = { name: "make_durable", text: "SELECT make_durable()" };
