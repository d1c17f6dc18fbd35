import { sealedCredentials } from "./channel-accounts/channel-accounts.ts";
import { sealedAnswers } from "./identity/idempotency.ts";
import { sealedLlmKeys } from "./identity/me.ts";
import { sealedTotpSecrets } from "./identity/totp/second-factor.ts";
import type { Log } from "./lib/postgres.ts";
import type { Db } from "./lib/query.ts";
import { findForeignSeals, reseal, type SealedColumn } from "./lib/reseal.ts";
import type { SecretBox } from "./lib/secret-box.ts";
import { StartError } from "./lib/start-error.ts";
import { sealedWebhookSecrets } from "./webhook-endpoints/secrets.ts";

/** All that is sealed in the database. What is not named here is lost when its key is retired. */
export const sealedColumns: readonly SealedColumn[] = [
  sealedCredentials,
  ...sealedWebhookSecrets,
  sealedTotpSecrets,
  sealedLlmKeys,
  ...sealedAnswers,
];

/**
 * A hub without the keys of its own secrets would send nothing, and seal new ones with a key that opens none of the old:
 * it does not start. Throws a `StartError` that says what to do.
 */
export async function requireKeys(db: Db, box: SecretBox): Promise<void> {
  const foreign = await findForeignSeals(db, box, sealedColumns);
  if (foreign.length === 0) return;
  const places = foreign.map(({ table, column }) => `${table}.${column}`).join(", ");
  throw new StartError(
    `ENCRYPTION_KEY is not the key with which this database's secrets were encrypted (${places}): ` +
      "give that one, behind the newest and a comma if you have replaced it. See docs/guides/rotate-secrets.md.",
  );
}

/** Seals anew what an older key has sealed, while there is one. */
export async function resealOld({ db, secretBox, log }: { db: Db; secretBox: SecretBox; log: Log }): Promise<void> {
  if (secretBox.headers.length === 1) return;
  for (const { table, column, resealed, failed } of await reseal(db, secretBox, sealedColumns)) {
    if (resealed > 0) log.info({ table, column, resealed }, "secrets were sealed with the newest key");
    if (failed > 0) log.warn({ table, column, failed }, "secrets cannot be opened and stay sealed as they are");
  }
}
