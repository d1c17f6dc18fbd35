import { Readable } from "node:stream";
import { Type } from "typebox";
import { type AuditRecord, listRecords, readForward, recordAct } from "../audit/audit.ts";
import { unknownCursor } from "../errors.ts";
import { pageOf, pageQuery } from "../http/pages.ts";
import type { App } from "../http/server.ts";
import type { Db } from "../lib/query.ts";
import { bearer, errorAnswers, nullable, time, uuid } from "./identity-schemas.ts";

/** `/v1/audit-log`: who did what that matters to security, for admins of the workspace. */
export function auditLogRoutes(app: App): void {
  const access = { role: "admin", scope: "audit-log:read" } as const;

  app.get(
    "/v1/audit-log",
    {
      config: { access },
      schema: {
        tags,
        security: bearer,
        summary: "List the audit log, newest first",
        querystring: Type.Object(
          {
            ...pageQuery.properties,
            action: Type.Optional(Type.String({ maxLength: 100, description: "Such as `session.refused`" })),
            actor_id: Type.Optional(uuid),
            target_id: Type.Optional(Type.String({ maxLength: 300 })),
            from: Type.Optional(Type.String({ format: "date-time", description: "Not before this" })),
            to: Type.Optional(Type.String({ format: "date-time", description: "Before this" })),
          },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(auditRecord), ...errorAnswers(400, 401, 403) },
      },
    },
    async ({ principal, db, query }) => {
      const { limit = 50, cursor, action, actor_id, target_id, from, to } = query;
      const rows = await listRecords(db, principal.workspaceId, {
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
    },
  );

  app.get(
    "/v1/audit-log/export",
    {
      config: { access },
      exposeHeadRoute: false,
      schema: {
        tags,
        security: bearer,
        summary: "Export the audit log",
        description:
          "One record a line, oldest first, all of them, each with its hash: docs/guides/audit-log.md says how to verify " +
          "them without this hub. The export is an act itself, and its record is the last line.",
        response: {
          200: { description: "JSON lines", content: { "application/x-ndjson": { schema: auditRecord } } },
          ...errorAnswers(401, 403),
        },
      },
    },
    async ({ principal, db }, reply) => {
      const last = await recordAct(db, principal, { action: "audit_log.exported" });
      reply.header("content-disposition", 'attachment; filename="audit-log.ndjson"');
      return reply
        .type("application/x-ndjson")
        .send(Readable.from(readLines(db, principal.workspaceId, last)) as never);
    },
  );
}

/** Records that are read, and told, at a time. */
const exportPageSize = 500;

async function* readLines(db: Db, workspaceId: string, last: number): AsyncGenerator<string> {
  for (let position = 0; position < last; ) {
    const records = await readForward(db, workspaceId, position, Math.min(exportPageSize, last - position));
    if (records.length === 0) return;
    position = records.at(-1)!.position;
    yield records.map((record) => `${JSON.stringify(show(record))}\n`).join("");
  }
}

const tags = ["Audit log"];

const auditRecord = Type.Object({
  workspace_id: uuid,
  position: Type.Integer({ description: "From 1, without gaps" }),
  at: time,
  actor_kind: Type.Enum(["user", "api_key", "anonymous", "system"]),
  actor_id: nullable(uuid),
  action: Type.String(),
  target_type: nullable(Type.String()),
  target_id: nullable(Type.String()),
  details: Type.Record(
    Type.String(),
    Type.Unsafe<string | number | boolean | null>({ type: ["string", "number", "boolean", "null"] }),
  ),
  ip: nullable(Type.String()),
  request_id: nullable(Type.String()),
  hash: Type.String({ description: "SHA-256 of this record and the hash before it, in hexadecimal" }),
});

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
