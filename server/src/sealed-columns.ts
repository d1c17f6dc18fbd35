import { sealedCredentials } from "./channel-accounts/channel-accounts.ts";
import type { PipelineDb } from "./database-roles.ts";
import { sealedAnswers } from "./http/idempotency-keys.ts";
import type { Clock } from "./lib/clock.ts";
import type { Log } from "./lib/postgres.ts";
import { repeat } from "./lib/repeat.ts";
import { findForeignSeals, reseal, type SealedColumn } from "./lib/reseal.ts";
import { MissingKeyError, type SecretBox } from "./lib/secret-box.ts";
import { StartError } from "./lib/start-error.ts";
import type { Troubles } from "./lib/troubles.ts";
import { sealedTotpSecrets } from "./log-in/log-in.ts";
import { sealedLlmKeys } from "./users/users.ts";
import { sealedWebhookSecrets } from "./webhook-endpoints/webhook-endpoints.ts";

/** All encrypted columns of the database. One that is missing here is lost when its key is retired. */
export const sealedColumns: readonly SealedColumn[] = [
  sealedCredentials,
  ...sealedWebhookSecrets,
  sealedTotpSecrets,
  sealedLlmKeys,
  ...sealedAnswers,
];

/**
 * A hub without the keys of its secrets could send nothing, and would encrypt new ones with another key, so
 * it does not start. Throws a `StartError`.
 */
export async function requireKeys(db: PipelineDb, box: SecretBox): Promise<void> {
  const problem = await missingKey(db, box);
  if (problem !== null) throw new StartError(problem);
}

async function missingKey(db: PipelineDb, box: SecretBox): Promise<string | null> {
  const foreign = await findForeignSeals(db, box, sealedColumns);
  if (foreign.length === 0) return null;
  const places = foreign.map(({ table, column }) => `${table}.${column}`).join(", ");
  return (
    `ENCRYPTION_KEY is not the key with which this database's secrets were encrypted (${places}): ` +
    "give that one, behind the newest and a comma if you have replaced it. See docs/guides/rotate-secrets.md."
  );
}

/** How often a process checks that it holds all keys in use, in milliseconds. */
export const watchKeysEveryMs = 15_000;
const part = "sealed secrets";

/**
 * Reports in `troubles` that another process has encrypted secrets with a key that this one lacks: it could neither
 * send nor verify webhooks with them.
 */
export function watchKeys({
  pipelineDb: db,
  secretBox,
  clock,
  troubles,
}: {
  pipelineDb: PipelineDb;
  secretBox: SecretBox;
  clock: Clock;
  troubles: Troubles;
}): { close(): Promise<void> } {
  return repeat(
    clock,
    watchKeysEveryMs,
    async () => {
      const problem = await missingKey(db, secretBox);
      if (problem === null) troubles.worked(part);
      else troubles.failed(part, new MissingKeyError(problem));
    },
    // Other parts report that the database does not respond.
    () => {},
  );
}

/** Encrypts with the newest key what an older key has encrypted, while there is an older key. */
export async function resealOld({
  pipelineDb: db,
  secretBox,
  log,
}: {
  pipelineDb: PipelineDb;
  secretBox: SecretBox;
  log: Log;
}): Promise<void> {
  if (secretBox.headers.length === 1) return;
  for (const { table, column, resealed, failed } of await reseal(db, secretBox, sealedColumns)) {
    if (resealed > 0) log.info({ table, column, resealed }, "secrets were encrypted with the newest key");
    if (failed > 0) log.warn({ table, column, failed }, "secrets cannot be decrypted and stay as they are");
  }
}
