import type { Pool } from "../lib/postgres.ts";

/** A pool whose statements a test sees before they run. */
export function watchedDb<Db extends Pool>(
  db: Db,
  see: (statement: { name?: string; values?: unknown[] }) => void,
): Db {
  const watched = (one: Pick<Pool, "query">) =>
    new Proxy(one, {
      get(target, key) {
        const value = Reflect.get(target, key);
        if (typeof value !== "function") return value;
        return (...given: [never]) => {
          if (key === "query") see(given[0]);
          return value.apply(target, given);
        };
      },
    });
  return { query: watched(db).query, connect: async () => watched(await db.connect()) } as unknown as Db;
}
