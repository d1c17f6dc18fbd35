import { createHash } from "node:crypto";
import { type Pool, transaction } from "../lib/postgres.ts";
import { all, type Db } from "../lib/query.ts";
import { type AuditRecord, readAuditRecords } from "./records.ts";

export interface ChainReport {
  workspaceId: string;
  records: number;
  /** Of the last record, in hexadecimal. Stored elsewhere, it proves later that nothing before it was changed. */
  hash: string;
  problem: string | null;
  isExpectedHere: boolean;
}

interface VerifyOptions {
  workspaceId?: string | undefined;
  expectedHash?: string | undefined;
}

/** Recomputes each hash, oldest first, without the database's functions, over one snapshot. Reports each workspace. */
export function verifyAuditLog(db: Pool, options: VerifyOptions, report: (found: ChainReport) => void): Promise<void> {
  return transaction(db, async (tx) => {
    await tx.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
    for (const head of await listHeads(tx, options.workspaceId)) report(await verifyChain(tx, head, options));
  });
}

const noHash = Buffer.alloc(32);

const pageSize = 1_000;

/** The text that is hashed after the previous hash: see docs/guides/audit-log.md. */
function canonicalText(record: AuditRecord): string {
  const details = Object.entries(record.details).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([
    record.workspace_id,
    record.position,
    record.at.toISOString(),
    record.actor_kind,
    record.actor_id,
    record.action,
    record.target_type,
    record.target_id,
    Object.fromEntries(details),
    record.ip,
    record.request_id,
  ]);
}

interface Head {
  workspaceId: string;
  position: number | null;
  hash: string | null;
}

async function verifyChain(db: Db, head: Head, { expectedHash }: VerifyOptions): Promise<ChainReport> {
  const { workspaceId } = head;
  let records = 0;
  let hash = noHash.toString("hex");
  let isExpectedHere = false;
  const reportOf = (problem: string | null): ChainReport => ({ workspaceId, records, hash, problem, isExpectedHere });
  for (;;) {
    const page = await readAuditRecords(db, workspaceId, records, pageSize);
    for (const record of page) {
      const problem = problemOf(record, records + 1, hash);
      if (problem !== null) return reportOf(problem);
      records += 1;
      hash = record.hash;
      isExpectedHere ||= hash === expectedHash;
    }
    if (page.length < pageSize) return reportOf(problemOfEnd(head, records, hash));
  }
}

function problemOf(record: AuditRecord, position: number, previousHash: string): string | null {
  if (record.position !== position) return `record ${position} is missing`;
  const hash = createHash("sha256")
    .update(Buffer.from(previousHash, "hex"))
    .update(canonicalText(record))
    .digest("hex");
  if (hash === record.hash) return null;
  if (position === 1) return "record 1 does not match its hash: it was edited or replaced";
  return `record ${position} does not match its hash: it was edited or moved, or record ${position - 1} was, together with its own hash`;
}

function problemOfEnd({ position, hash }: Head, lastPosition: number, lastHash: string): string | null {
  if (position === null) {
    return lastPosition === 0 ? "the log is empty: every workspace has at least one record" : "the head is missing";
  }
  if (position > lastPosition) {
    const which =
      position === lastPosition + 1 ? `record ${position} was` : `records ${lastPosition + 1} to ${position} were`;
    return `${which} deleted at the end`;
  }
  if (position < lastPosition)
    return `record ${position + 1} is after the head: it was added, or the head was set back`;
  return hash === lastHash ? null : "the head does not match the last record: one of them was edited";
}

function listHeads(db: Db, workspaceId: string | undefined): Promise<Head[]> {
  return all<Head>(
    db,
    `SELECT workspace_id AS "workspaceId", h.position, encode(h.hash, 'hex') AS hash
       FROM workspaces LEFT JOIN audit_heads h USING (workspace_id)
      WHERE $1::uuid IS NULL OR workspace_id = $1 ORDER BY ordinal`,
    [workspaceId],
  );
}
