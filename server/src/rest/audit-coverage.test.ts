import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

/**
 * What every route that changes something records, or, in brackets, why nothing. A route that is not here fails the
 * test: the author of a new route decides.
 */
const recorded: Record<string, string[]> = {
  "POST /auth/register": ["user.registered", "session.opened"],
  "POST /auth/token": ["session.opened", "session.refused"],
  "POST /auth/refresh": ["session.revoked"],
  "POST /auth/logout": ["session.ended"],
  "POST /auth/logout-everywhere": ["session.all_ended"],
  "POST /auth/oauth/exchange": ["session.opened", "user.registered", "identity.linked"],
  "POST /auth/invitations/accept": ["invitation.accepted", "session.opened"],
  "POST /auth/password/forgot": ["password.reset_requested"],
  "POST /auth/password/reset": ["password.reset"],
  "PATCH /v1/me": ["llm_api_key.set", "llm_api_key.removed"],
  "POST /v1/me/password": ["password.changed"],
  "POST /v1/me/totp": ["(nothing is in force before it is confirmed)"],
  "POST /v1/me/totp/confirm": ["second_factor.enabled"],
  "DELETE /v1/me/totp": ["second_factor.removed"],
  "POST /v1/api-keys": ["api_key.created"],
  "DELETE /v1/api-keys/{id}": ["api_key.revoked"],
  "POST /v1/invitations": ["invitation.created"],
  "DELETE /v1/invitations/{id}": ["invitation.revoked"],
  "POST /v1/users": ["user.created"],
  "PATCH /v1/users/{id}": ["user.role_changed", "user.disabled", "user.enabled"],
  "DELETE /v1/users/{id}": ["user.deleted"],
  "POST /v1/users/{id}/password-reset": ["password.reset_requested"],
  "DELETE /v1/users/{id}/totp": ["second_factor.removed"],
  "POST /v1/users/{id}/addresses": ["address.added"],
  "POST /v1/users/{id}/addresses/verify": ["address.added"],
  "DELETE /v1/users/{id}/addresses/{address}": ["address.removed"],
  "POST /v1/workspaces": ["workspace.created", "user.created"],
  "POST /v1/channel-accounts": ["channel_account.created"],
  "PATCH /v1/channel-accounts/{id}": ["channel_account.changed", "channel_account.credentials_changed"],
  "DELETE /v1/channel-accounts/{id}": ["channel_account.deleted"],
  "POST /v1/channel-accounts/{id}/verify": ["(asks the platform, and changes nothing here)"],
  "POST /v1/webhook-endpoints": ["webhook_endpoint.created"],
  "PATCH /v1/webhook-endpoints/{id}": ["webhook_endpoint.changed"],
  "DELETE /v1/webhook-endpoints/{id}": ["webhook_endpoint.deleted"],
  "POST /v1/webhook-endpoints/{id}/rotate-secret": ["webhook_endpoint.secret_rotated"],
  "POST /v1/webhook-endpoints/{id}/test": ["(sends the endpoint nothing of the workspace)"],
  "POST /v1/webhook-endpoints/{id}/replay": ["(sends the endpoint events that it may see, again)"],
  "POST /v1/webhook-endpoints/{id}/attempts/{attempt_id}/replay": [
    "(sends the endpoint events that it may see, again)",
  ],
  "POST /v1/contacts": ["(everyday work: people who write in are made contacts too)"],
  "PATCH /v1/contacts/{id}": ["(everyday work: a name and notes)"],
  "DELETE /v1/contacts/{id}": ["contact.deleted"],
  "POST /v1/contacts/{id}/merge": ["contact.merged"],
  "POST /v1/contacts/{id}/addresses": ["address.added"],
  "DELETE /v1/contacts/{id}/addresses/{address}": ["address.removed"],
  "POST /v1/conversations": ["(everyday work; who is in it from the start is in the conversation)"],
  "PATCH /v1/conversations/{id}": ["(everyday work: a title and settings)"],
  "POST /v1/conversations/{id}/members": ["member.added"],
  "DELETE /v1/conversations/{id}/members/{participant_id}": ["member.removed"],
  "POST /v1/conversations/{id}/read": ["(everyday work, kept with the message)"],
  "POST /v1/conversations/{id}/typing": ["(leaves no trace)"],
  "POST /v1/messages": ["(everyday work: a message has its own audit trail)"],
  "POST /v1/messages/batch": ["(everyday work: a message has its own audit trail)"],
  "POST /v1/messages/preflight": ["(changes nothing)"],
  "POST /v1/files": ["(everyday work: the file has its uploader)"],
  "POST /v1/files/initiate": ["(everyday work: the file has its uploader)"],
  "POST /v1/files/complete": ["(everyday work: the file has its uploader)"],
  "DELETE /v1/files/{id}": ["file.deleted"],
  "POST /v1/documents/{id}/extract": ["(everyday work: the task has its user)"],
  "POST /v1/documents/{id}/summarize": ["(everyday work: the task has its user)"],
  "POST /v1/tasks/{id}/cancel": ["(everyday work: the task has its user)"],
  "POST /v1/dead-letters/{id}/replay": ["dead_letter.replayed"],
  "POST /v1/dead-letters/replay": ["dead_letters.replayed"],
  "DELETE /v1/dead-letters/{id}": ["dead_letter.discarded"],
  "POST /webhooks/{channel}/{id}": ["(the platform's word, kept as it came)"],
};

/** Actions that no changing route records. */
const besides = ["audit_log.started", "audit_log.exported", "webhook_endpoint.disabled", "channel_account.refused"];

const read = (path: string) => readFileSync(join(import.meta.dirname, "../../..", path), "utf8");

test("every route that changes something says which audit events it records, or why none", () => {
  const { paths } = JSON.parse(read("contract/openapi.json")) as { paths: Record<string, object> };
  const routes = Object.entries(paths).flatMap(([path, operations]) =>
    Object.keys(operations)
      .filter((method) => ["post", "put", "patch", "delete"].includes(method))
      .map((method) => `${method.toUpperCase()} ${path}`),
  );
  assert.deepEqual(Object.keys(recorded).toSorted(), routes.toSorted());
});

test("the actions in the table, in the code and in the guide are the same", () => {
  const inTable = new Set([
    ...Object.values(recorded)
      .flat()
      .filter((what) => !what.startsWith("(")),
    ...besides,
  ]);
  const sources = ["server/src", "server/migrations"].flatMap((folder) =>
    readdirSync(join(import.meta.dirname, "../../..", folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /(?<!\.test)\.(ts|sql)$/.test(name))
      .map((name) => read(`${folder}/${name}`)),
  );
  const literal = /["'`]((?:[a-z_]+)\.[a-z_]*(?:ed|set))["'`]/g;
  const inCode = new Set(
    sources
      .filter((text) => /recordAuditEvent|append_to_audit_log/.test(text))
      .flatMap((text) => [...text.matchAll(literal)].map(([, action]) => action!)),
  );
  for (const verb of ["created", "changed", "deleted", "secret_rotated"]) inCode.add(`webhook_endpoint.${verb}`);
  assert.deepEqual([...inCode].toSorted(), [...inTable].toSorted());

  const table = read("docs/guides/audit-log.md").split("## What is recorded")[1]!.split("\n## ")[0]!;
  const inGuide = [...table.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, cell]) => cell!.match(/[a-z_]+\.[a-z_]+/g)!);
  assert.deepEqual(inGuide.toSorted(), [...inTable].toSorted());
});
