import pg from "pg";
import type { PoolOf } from "./postgres.ts";

/**
 * Views of one pool that differ in the value of a session setting, by which row-level security tells what they see. A
 * connection is given the value before it is used, and only when it had another one: a pool that serves one scope asks
 * nothing more than without.
 */
export function openScopes<Role>(pool: pg.Pool & PoolOf<Role>, setting: string): (value: string) => PoolOf<Role> {
  const current = new WeakMap<pg.PoolClient, string>();

  async function connect(value: string): Promise<pg.PoolClient> {
    const client = await pool.connect();
    if (current.get(client) === value) return client;
    // Outside a transaction, so that no rollback takes it back.
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

  async function query(value: string, ...statement: Parameters<pg.PoolClient["query"]>): Promise<unknown> {
    const client = await connect(value);
    try {
      const result = await client.query(...statement);
      client.release();
      return result;
    } catch (error) {
      // What the server refused leaves the connection sound; anything else may not.
      client.release(error instanceof pg.DatabaseError && error.severity === "ERROR" ? undefined : (error as Error));
      throw error;
    }
  }

  return (value) =>
    ({
      connect: () => connect(value),
      query: (...statement: Parameters<pg.PoolClient["query"]>) => query(value, ...statement),
    }) as unknown as PoolOf<Role>;
}
