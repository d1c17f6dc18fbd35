import { Type } from "typebox";
import { operations } from "./operation.ts";
import { closed, named, nullable, pageOf, pageQuery, time, uuid } from "./schemas.ts";

const AuditRecord = named(
  "AuditRecord",
  Type.Object({
    workspace_id: uuid,
    position: Type.Integer({ description: "From 1, without gaps." }),
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
    hash: Type.String({ description: "SHA-256 of the previous record's hash and this record, in hexadecimal." }),
  }),
  {
    workspace_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c",
    position: 17,
    at: "2026-11-29T12:00:00.000Z",
    actor_kind: "user",
    actor_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3d",
    action: "user.created",
    target_type: "user",
    target_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3e",
    details: { role: "agent" },
    ip: "203.0.113.7",
    request_id: "7f8a3c52-0d0b-4c5b-9a53-3f6c1a3e9d10",
    hash: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
  },
);

const access = { role: "admin", scope: "audit-log:read" } as const;

/** Who did what that matters to security, for admins of the workspace. */
export const auditLog = operations("Audit log", {
  listAuditRecords: {
    method: "GET",
    path: "/v1/audit-log",
    summary: "List the audit log, newest first",
    access,
    query: Type.Object(
      {
        ...pageQuery,
        action: Type.Optional(Type.String({ maxLength: 100, description: "Such as `session.refused`." })),
        actor_id: Type.Optional(uuid),
        target_id: Type.Optional(Type.String({ maxLength: 300 })),
        from: Type.Optional(Type.String({ format: "date-time", description: "Only records of this time or later." })),
        to: Type.Optional(Type.String({ format: "date-time", description: "Only records from before this time." })),
      },
      closed,
    ),
    answers: { 200: pageOf(AuditRecord) },
  },
  exportAuditLog: {
    method: "GET",
    path: "/v1/audit-log/export",
    summary: "Export the audit log",
    description:
      "All records as JSON, one a line, oldest first, each with its hash: docs/guides/audit-log.md says how to verify them " +
      "without this hub. The export is itself recorded, and its record is the last line.",
    access,
    answers: { 200: AuditRecord },
    contentType: "application/x-ndjson",
  },
});
