import { parseArgs } from "node:util";
import { type ChainReport, verifyAuditLog } from "../audit/audit.ts";
import { isUuid } from "../lib/ids.ts";
import { openPool, withSettings } from "../lib/postgres.ts";
import { StartError } from "../lib/start-error.ts";
import { refuseArguments } from "./arguments.ts";
import type { Command, CommandCall } from "./command.ts";
import { quiet, requireSchema } from "./database.ts";

const usage = `Usage: npm start -- audit verify [--workspace <id>] [--expect <hash>]

  Reads the audit log of every workspace, or of one, computes the hash of each record again and says what it found first:
  an edited, missing, moved or cut off record. Ends with 1 when something is wrong. A hub may run meanwhile.

  --expect   a hash that was noted earlier, as this command or the export prints it: wrong unless a record has it
`;

export const auditCommand: Command = {
  usage,
  actions: { verify: { mayRunBesideHub: true, run: verify } },
};

async function verify({ args, print, openDatabase }: CommandCall): Promise<number> {
  const { workspace, expect } = readArgs(args);
  await using database = await openDatabase();
  // The pipeline's role sees every row, and cannot change one of these.
  const url = withSettings(database.url, ["role=chat4all_pipeline"]);
  const pool = openPool({ url, size: 1, applicationName: "chat4all audit", log: quiet });
  try {
    await requireSchema(database, pool, "audit_log");
    const reports: ChainReport[] = [];
    await verifyAuditLog(pool, { workspaceId: workspace, expectedHash: expect }, (found) => {
      reports.push(found);
      print(describe(found));
    });
    return conclude(reports, { workspace, expect }, print);
  } finally {
    await pool.end();
  }
}

function readArgs(args: readonly string[]): { workspace: string | undefined; expect: string | undefined } {
  const options = { workspace: { type: "string" }, expect: { type: "string" } } as const;
  let read: ReturnType<typeof parseArgs<{ options: typeof options; allowPositionals: true }>>;
  try {
    read = parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    throw new StartError(`${(error as Error).message}\n\n${usage}`);
  }
  const { workspace, expect } = read.values;
  refuseArguments(read.positionals, usage);
  if (workspace !== undefined && !isUuid(workspace)) throw new StartError("--workspace must be the id of a workspace.");
  if (expect !== undefined && !/^[0-9a-f]{64}$/i.test(expect)) {
    throw new StartError("--expect must be a hash: 64 hexadecimal digits.");
  }
  return { workspace, expect: expect?.toLowerCase() };
}

function describe({ workspaceId, records, hash, problem }: ChainReport): string {
  if (problem === null) return `workspace ${workspaceId}: ${count(records)}, head ${hash}`;
  return `workspace ${workspaceId}: WRONG after ${count(records)}: ${problem}`;
}

function conclude(
  reports: readonly ChainReport[],
  { workspace, expect }: ReturnType<typeof readArgs>,
  print: (line: string) => void,
): number {
  const wrong = reports.filter(({ problem }) => problem !== null).length;
  const records = reports.reduce((sum, report) => sum + report.records, 0);
  print(`${count(records)} of ${reports.length} workspace${reports.length === 1 ? "" : "s"} checked.`);
  if (reports.length === 0) {
    print(
      workspace === undefined ? "There is no workspace: this database was never used." : "There is no such workspace.",
    );
    return 1;
  }
  if (wrong > 0) {
    print(`The audit log was changed: it is wrong in ${wrong} of ${reports.length}.`);
    return 1;
  }
  if (expect !== undefined && !reports.some(({ isExpectedHere }) => isExpectedHere)) {
    print("No record has the expected hash: the log was rewritten, or cut before it.");
    return 1;
  }
  print("Nothing was edited, removed, inserted or moved.");
  return 0;
}

function count(records: number): string {
  return `${records.toLocaleString("en")} record${records === 1 ? "" : "s"}`;
}
