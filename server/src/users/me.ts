import { recordAuditEvent } from "../audit/audit.ts";
import type { Principal } from "../credentials/credentials.ts";
import type { PipelineDb, RequestDb } from "../database-roles.ts";
import { transaction } from "../lib/postgres.ts";
import { maybe } from "../lib/query.ts";
import type { SealedColumn } from "../lib/reseal.ts";
import type { SecretBox } from "../lib/secret-box.ts";
import { getUser } from "./manage-users.ts";
import { type User, updateOwnRow } from "./user-rows.ts";

interface OwnChanges {
  displayName?: string | undefined;
  preferredModel?: string | null | undefined;
  /** The user's own key for the language model: encrypted, and never returned. */
  llmApiKey?: string | null | undefined;
}

export async function updateMe(
  { db, box }: { db: RequestDb; box: SecretBox },
  principal: Principal,
  { llmApiKey, ...changes }: OwnChanges,
): Promise<User> {
  const { workspaceId, userId } = principal;
  const llmApiKeySealed = typeof llmApiKey === "string" ? box.seal(llmApiKey, llmKeyContext(userId)) : llmApiKey;
  return transaction(db, async (tx) => {
    await updateOwnRow(tx, userId, { ...changes, llmApiKeySealed });
    const user = await getUser(tx, { workspaceId, userId });
    if (llmApiKey === undefined) return user;
    const action = llmApiKey === null ? "llm_api_key.removed" : "llm_api_key.set";
    await recordAuditEvent(tx, principal, { action, target: { type: "user", id: userId } });
    return user;
  });
}

export interface LlmSettings {
  /** The user's own key. */
  apiKey: string | null;
  preferredModel: string | null;
}

/** Throws a `SecretBoxError` when the key cannot be opened. */
export async function findLlmSettings(
  { db, box }: { db: PipelineDb; box: SecretBox },
  userId: string,
): Promise<LlmSettings> {
  const row = await maybe<{ llm_api_key_sealed: Buffer | null; preferred_model: string | null }>(
    db,
    "SELECT llm_api_key_sealed, preferred_model FROM users WHERE user_id = $1",
    [userId],
  );
  const sealed = row?.llm_api_key_sealed ?? null;
  const apiKey = sealed === null ? null : box.open(sealed, llmKeyContext(userId));
  return { apiKey, preferredModel: row?.preferred_model ?? null };
}

function llmKeyContext(userId: string): string {
  return `llm-api-key:${userId}`;
}

export const sealedLlmKeys: SealedColumn = {
  table: "users",
  column: "llm_api_key_sealed",
  key: ["user_id"],
  contextOf: llmKeyContext,
};
