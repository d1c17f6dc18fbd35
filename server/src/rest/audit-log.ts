import { Readable } from "node:stream";
import { auditLog } from "../../../contract/src/audit-log.ts";
import { type AuditRecord, listAuditRecords, readAuditRecords, recordAuditEvent } from "../audit/audit.ts";
import { unknownCursor } from "../errors.ts";
import type { App } from "../http/app.ts";
import { route } from "../http/route.ts";
import type { Db } from "../lib/query.ts";

/** `/v1/audit-log`: what happened that matters to security, for admins of the workspace. */
export function auditLogRoutes(app: App): void {
  route(app, auditLog.listAuditRecords, async ({ principal, db, query }) => {
    const { limit = 50, cursor, action, actor_id, target_id, from, to } = query;
    const rows = await listAuditRecords(db, principal.workspaceId, {
      limit,
      before: decodeCursor(cursor),
      action,
      actorId: actor_id,
      targetId: target_id,
      from: from === undefined ? undefined : new Date(from),
      to: to === undefined ? undefined : new Date(to),
    });
    const shown = rows.slice(0, limit);
    const next = rows.length > limit ? encodeCursor(shown.at(-1)!.position) : null;
    return { data: shown.map(show), next_cursor: next };
  });

  route(
    app,
    auditLog.exportAuditLog,
    async ({ principal, db }, reply) => {
      const last = await recordAuditEvent(db, principal, { action: "audit_log.exported" });
      reply.header("content-disposition", 'attachment; filename="audit-log.ndjson"');
      return Readable.from(readLines(db, principal.workspaceId, last));
    },
    // A `HEAD` would be recorded as an export.
    { exposeHeadRoute: false },
  );
}

const exportPageSize = 500;

async function* readLines(db: Db, workspaceId: string, last: number): AsyncGenerator<string> {
  for (let position = 0; position < last; ) {
    const records = await readAuditRecords(db, workspaceId, position, Math.min(exportPageSize, last - position));
    if (records.length === 0) return;
    position = records.at(-1)!.position;
    yield records.map((record) => `${JSON.stringify(show(record))}\n`).join("");
  }
}

function show({ at, ...record }: AuditRecord) {
  return { ...record, at: at.toISOString() };
}

function encodeCursor(position: number): string {
  return Buffer.from(`audit:${position}`).toString("base64url");
}

function decodeCursor(cursor: string | undefined): number | undefined {
  if (cursor === undefined) return undefined;
  const position = /^audit:(\d{1,15})$/.exec(Buffer.from(cursor, "base64url").toString())?.[1];
  if (position === undefined) throw unknownCursor();
  return Number(position);
}
