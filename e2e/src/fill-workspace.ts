import { randomBytes, randomUUID } from "node:crypto";
import type { Owner } from "./owned-rows.ts";
import type { Things } from "./things.ts";
import { connectBot, newUser, text, type Workspace } from "./workspace.ts";

/**
 * Brings about every kind of row that a workspace can have: what people and programs do, over the API. By hand only what
 * needs a login provider or an authenticator app.
 */
export async function fillWorkspace(workspace: Workspace, things: Things, owner: Owner): Promise<void> {
  const { hub, admin, member, workspaceId } = workspace;
  const accounts = await admin.client.channelAccounts.list();
  if (accounts.data.length === 0) await connectBot(workspace);
  for (const make of Object.values(things)) await make();
  await hub.person("telegram").writes("Are you there?");
  await admin.client.call("POST", "/v1/contacts", {
    body: { display_name: "Made once", metadata: { crm: "1" } },
    headers: { "idempotency-key": randomUUID() },
  });
  // A message that quotes another, a contact that was merged, and a key that a key made.
  const conversation_id = await things.conversation();
  const first = await member.client.messages.send({ conversation_id, payload: text("A question") });
  await member.client.messages.send({ conversation_id, reply_to: first.message_id, payload: text("Its answer") });
  const into = await admin.client.contacts.create({ display_name: "Twice" });
  const from = await admin.client.contacts.create({ display_name: "Twice as well" });
  await admin.client.call("POST", `/v1/contacts/${from.contact_id}/merge`, { body: { into: into.contact_id } });
  const { key } = await admin.client.apiKeys.create({ name: "Makes keys", scopes: ["*"] });
  const byKey = hub.clientFor(key);
  await byKey.apiKeys.create({ name: "Made by a key", scopes: ["*"] });
  const { userId } = await newUser(hub, admin, "agent");
  await byKey.call("POST", `/v1/users/${userId}/password-reset`);
  await byKey.call("POST", "/v1/invitations", { body: { email: `${randomUUID()}@example.com`, role: "member" } });
  await byKey.webhookEndpoints.create({ url: "https://example.com/events", events: ["webhook_endpoint.enabled"] });
  await owner.all(
    `INSERT INTO login_identities (issuer, subject, user_id, workspace_id, provider, created_at, last_used_at)
     VALUES ('https://issuer.example', $3, $1, $2, 'example', now(), now())`,
    [member.userId, workspaceId, randomUUID()],
  );
  await owner.all("INSERT INTO recovery_codes (user_id, workspace_id, code_hash) VALUES ($1, $2, $3)", [
    member.userId,
    workspaceId,
    randomBytes(32),
  ]);
  await owner.all(
    `INSERT INTO read_marks (channel_account_id, identifier, workspace_id, conversation_id, channel,
       provider_message_id, written_at, seq, is_pending, due_at, since)
     SELECT channel_account_id, '1', workspace_id,
       (SELECT c.conversation_id FROM conversations c WHERE c.workspace_id = $1 LIMIT 1), channel, '1', now(), 1, false, now(), now()
     FROM channel_accounts WHERE workspace_id = $1 AND deleted_at IS NULL LIMIT 1`,
    [workspaceId],
  );
  // Its platform sends no receipts.
  await owner.all(
    `UPDATE deliveries SET delivered_by = w.webhook_id, read_by = w.webhook_id
     FROM (SELECT webhook_id FROM webhooks WHERE workspace_id = $1 LIMIT 1) w WHERE workspace_id = $1 AND lane_id IS NOT NULL`,
    [workspaceId],
  );
  await owner.all("INSERT INTO llm_usage (workspace_id, user_id, day, tokens) VALUES ($1, $2, '2026-01-01', 7)", [
    workspaceId,
    member.userId,
  ]);
  await owner.all(
    `INSERT INTO hourly_counts (workspace_id, hour, counted, channel, state, count)
     VALUES ($1, date_trunc('hour', now()), 'delivery', 'telegram', 'sent', 1)`,
    [workspaceId],
  );
  await owner.all(
    `INSERT INTO address_verifications (verification_id, workspace_id, user_id, channel, identifier, code_hash, expires_at)
     VALUES ($1, $2, $3, 'telegram', '1', $4, now())`,
    [randomUUID(), workspaceId, member.userId, randomBytes(32)],
  );
}
