import { systemClock } from "../lib/clock.ts";
import { makePartitions } from "../lib/partitions.ts";
import { openPool, type Pool, withSettings } from "../lib/postgres.ts";
import { all, run } from "../lib/query.ts";

const dayMs = 86_400_000;
const quiet = { info() {}, warn() {}, error() {} };

/** Partitions of this month, the next one and the five before, of tables that are empty. */
export async function makePastPartitions(owner: Pool): Promise<void> {
  await dropEmptyPartitions(owner);
  const tables = await all<{ name: string }>(owner, "SELECT table_name AS name FROM partitioned_tables");
  const monthly = tables.map(({ name }) => ({ name, period: "month" as const }));
  for (const months of [5, 4, 3, 2, 1, 0]) {
    await makePartitions({ db: owner, clock: systemClock }, monthly, new Date(Date.now() - months * 30.4 * dayMs));
  }
}

export async function dropEmptyPartitions(owner: Pool): Promise<void> {
  const partitions = await all<{ name: string }>(
    owner,
    "SELECT p.name FROM partitioned_tables t, partitions_by_time(t.table_name) p",
  );
  for (const { name } of partitions) await run(owner, `DROP TABLE ${name}`);
}

interface PlanNode {
  "Node Type": string;
  "Relation Name"?: string;
  "Actual Loops"?: number;
  Plans?: PlanNode[];
}

export interface Watched extends AsyncDisposable {
  db: Pool;
  /** The partitions that statements have read since the last call, by the name of the table. */
  partitionsRead(): string[];
}

/** Runs each statement twice: once to see what it reads, undone, and once for its result. */
export function watchPartitions(url: string, settings: readonly string[]): Watched {
  const pool = openPool({ url: withSettings(url, settings), size: 1, applicationName: "test", log: quiet });
  const read = new Set<string>();
  const note = (node: PlanNode): void => {
    const relation = node["Relation Name"];
    if (relation !== undefined && node["Node Type"].includes("Scan") && node["Actual Loops"] !== 0) read.add(relation);
    for (const child of node.Plans ?? []) note(child);
  };
  const query = async (statement: string | { text: string; values?: unknown[] }, values?: unknown[]) => {
    const [text, given] = typeof statement === "string" ? [statement, values] : [statement.text, statement.values];
    const client = await pool.connect();
    try {
      await client.query("BEGIN");
      const { rows } = await client.query(`EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, given);
      for (const { Plan } of rows[0]["QUERY PLAN"]) note(Plan);
      await client.query("ROLLBACK");
      return await client.query(text, given);
    } finally {
      client.release();
    }
  };
  return {
    db: { query, connect: async () => ({ query, release() {} }) } as never,
    partitionsRead() {
      const names = [...read].filter((name) => /_(from_\d{8}|others|first)$/.test(name)).sort();
      read.clear();
      return names;
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };
}
