import type pg from "pg";
import { type PoolOf, withConnection } from "./postgres.ts";

/** For row-level security. Sets the value only on a connection that had another: one scope costs nothing. */
export function openScopes<Role>(pool: pg.Pool & PoolOf<Role>, setting: string): (value: string) => PoolOf<Role> {
  const current = new WeakMap<pg.PoolClient, string>();

  async function connect(value: string): Promise<pg.PoolClient> {
    const client = await pool.connect();
    if (current.get(client) === value) return client;
    // Outside a transaction, so that no rollback reverts it.
    current.delete(client);
    try {
      await client.query("SELECT set_config($1, $2, false)", [setting, value]);
    } catch (error) {
      client.release(error as Error);
      throw error;
    }
    current.set(client, value);
    return client;
  }

  return (value) =>
    ({
      connect: () => connect(value),
      query: (...statement: Parameters<pg.PoolClient["query"]>) =>
        withConnection(
          () => connect(value),
          (client) => client.query(...statement) as unknown as Promise<unknown>,
        ),
    }) as unknown as PoolOf<Role>;
}
