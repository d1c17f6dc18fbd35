import { all, type Db } from "../lib/query.ts";

/** `hash` is in hexadecimal. */
export interface AuditRecord {
  workspace_id: string;
  position: number;
  at: Date;
  actor_kind: "user" | "api_key" | "anonymous" | "system";
  actor_id: string | null;
  action: string;
  target_type: string | null;
  target_id: string | null;
  details: Record<string, string | number | boolean | null>;
  ip: string | null;
  request_id: string | null;
  hash: string;
}

interface AuditFilter {
  action?: string | undefined;
  actorId?: string | undefined;
  targetId?: string | undefined;
  /** Inclusive; `to` is exclusive. */
  from?: Date | undefined;
  to?: Date | undefined;
}

const columns = `workspace_id, position, at, actor_kind, actor_id, action, target_type, target_id, details, ip, request_id,
       encode(hash, 'hex') AS hash`;

/** Newest first, before the position `before`; up to `limit + 1`. */
export function listAuditRecords(
  db: Db,
  workspaceId: string,
  { limit, before, ...filter }: AuditFilter & { limit: number; before?: number | undefined },
): Promise<AuditRecord[]> {
  return all<AuditRecord>(
    db,
    `SELECT ${columns} FROM audit_log
      WHERE workspace_id = $1 AND ($2::bigint IS NULL OR position < $2)
        AND ($3::text IS NULL OR action = $3) AND ($4::uuid IS NULL OR actor_id = $4)
        AND ($5::text IS NULL OR target_id = $5)
        AND ($6::timestamptz IS NULL OR at >= $6) AND ($7::timestamptz IS NULL OR at < $7)
      ORDER BY position DESC LIMIT $8`,
    [workspaceId, before, filter.action, filter.actorId, filter.targetId, filter.from, filter.to, limit + 1],
  );
}

/** Oldest first, after the position `after`, up to `limit`. */
export function readAuditRecords(db: Db, workspaceId: string, after: number, limit: number): Promise<AuditRecord[]> {
  return all<AuditRecord>(
    db,
    `SELECT ${columns} FROM audit_log WHERE workspace_id = $1 AND position > $2 ORDER BY position LIMIT $3`,
    [workspaceId, after, limit],
  );
}
