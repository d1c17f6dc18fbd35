import { recordAuditEvent } from "../audit/audit.ts";
import type { Principal } from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { transaction } from "../lib/postgres.ts";
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

function llmKeyContext(userId: string): string {
  return `llm-api-key:${userId}`;
}

export const sealedLlmKeys: SealedColumn = {
  table: "users",
  column: "llm_api_key_sealed",
  key: ["user_id"],
  contextOf: llmKeyContext,
};
