import pg from "pg";
import { RequestError } from "../errors.ts";
import { type Pool, type PoolClient, transaction } from "../lib/postgres.ts";
import { run } from "../lib/query.ts";

/** How long the database may search for one request, in milliseconds. */
const searchLimitMs = 2_000;

/** Runs a search by text. Throws SEARCH_TIMEOUT when it takes longer than `searchLimitMs`. */
export async function withinSearchLimit<T>(db: Pool, search: (tx: PoolClient) => Promise<T>): Promise<T> {
  try {
    return await transaction(db, async (tx) => {
      await run(tx, "SELECT set_config('statement_timeout', $1, true)", [String(searchLimitMs)]);
      return search(tx);
    });
  } catch (cause) {
    if (!(cause instanceof pg.DatabaseError && cause.code === queryCanceled)) throw cause;
    throw new RequestError(
      "SEARCH_TIMEOUT",
      `The search took longer than ${searchLimitMs / 1_000} s. Search for a longer or rarer part, or try again later.`,
      { cause },
    );
  }
}

const queryCanceled = "57014";
