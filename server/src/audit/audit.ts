/** The audit log: who did what that matters to security. Migration 0009 describes how it is stored. */
import { type Db, one } from "../lib/query.ts";

export { type AuditRecord, listAuditRecords, readAuditRecords } from "./records.ts";
export { type ChainReport, verifyAuditLog } from "./verify.ts";

export interface Origin {
  readonly ip: string | null;
  readonly requestId: string | null;
}

/** Who did it: a caller, as `Principal` is one, or an unknown client, or the hub. */
export type Actor =
  | {
      readonly kind: "user" | "api_key";
      readonly callerId: string;
      readonly workspaceId: string;
      readonly origin: Origin;
    }
  | { readonly kind: "anonymous" | "system"; readonly workspaceId: string; readonly origin: Origin };

export function systemOf(workspaceId: string): Actor {
  return { kind: "system", workspaceId, origin: { ip: null, requestId: null } };
}

interface AuditEvent {
  /** `noun.verb_in_past`, such as `user.created`; docs/guides/audit-log.md lists all of them. */
  action: string;
  target?: { type: string; id: string } | null;
  /** Ids, names of fields, counts. Never a secret, a password, a token or message text. */
  details?: Record<string, string | number | boolean | null>;
}

/** Call it last in the transaction of the event: it locks the workspace's log until commit. Returns the position. */
export async function recordAuditEvent(
  db: Db,
  by: Actor,
  { action, target = null, details = {} }: AuditEvent,
): Promise<number> {
  requireCanonical(action, details);
  const statement = "SELECT append_to_audit_log($1, $2, $3, $4, $5, $6, $7, $8, $9) AS position";
  const { position } = await one<{ position: number }>(db, statement, [
    by.workspaceId,
    by.kind,
    "callerId" in by ? by.callerId : null,
    action,
    target?.type,
    target?.id,
    JSON.stringify(details),
    by.origin.ip,
    by.origin.requestId,
  ]);
  return position;
}

/** In characters of JSON. */
const maxDetailsLength = 4_000;

/** The hashed text must be the same in every language: plain names, and numbers with one spelling. */
function requireCanonical(action: string, details: NonNullable<AuditEvent["details"]>): void {
  if (!/^[a-z][a-z_]*\.[a-z][a-z_]*$/.test(action)) throw new Error(`${action} is not a valid action`);
  for (const [key, value] of Object.entries(details)) {
    const isPlain = typeof value !== "number" || Number.isSafeInteger(value);
    if (!/^[a-z][a-z0-9_]*$/.test(key) || !isPlain) throw new Error(`the detail ${key} of ${action} is not canonical`);
  }
  if (JSON.stringify(details).length > maxDetailsLength) throw new Error(`the details of ${action} are too long`);
}
