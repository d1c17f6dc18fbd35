import { hashToken } from "../../credentials/credentials.ts";
import { RequestError } from "../../errors.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Db } from "../../lib/query.ts";
import type { SealedColumn } from "../../lib/reseal.ts";
import type { SecretBox } from "../../lib/secret-box.ts";
import { matchingStep } from "./one-time-code.ts";
import * as rows from "./totp-rows.ts";

interface SecondFactorDeps {
  db: Db;
  clock: Clock;
  box: SecretBox;
}

/**
 * Asks for the second factor, if the user has one, once the password was right. Each code works once. A wrong code is
 * AUTH_INVALID and is to be counted like a wrong password; none at all is AUTH_REQUIRED with `totp_required`.
 */
export async function requireSecondFactor(
  deps: SecondFactorDeps,
  userId: string,
  code: string | undefined,
): Promise<void> {
  const totp = await rows.findTotp(deps.db, userId);
  if (totp === null || totp.confirmed_at === null) return;
  if (code === undefined) {
    throw new RequestError(
      "AUTH_REQUIRED",
      "Send the code of your authenticator app, or a recovery code, as totp_code.",
      { details: { totp_required: true } },
    );
  }
  if (!(await isRightCode(deps, totp, code))) throw new RequestError("AUTH_INVALID", wrongCode);
}

export const wrongCode = "The code is wrong, or was used before: send the one that is shown now.";

/** Of a confirmed second factor. Spends the code: the same one is wrong from then on. */
export async function isRightCode(
  { db, clock, box }: SecondFactorDeps,
  totp: rows.TotpRow,
  code: string,
): Promise<boolean> {
  const step = matchingStep(openSecret(box, totp), code, clock.now(), totp.last_step);
  if (step !== null) return rows.useStep(db, totp.user_id, step);
  return rows.useRecoveryCode(db, totp.user_id, hashRecoveryCode(code));
}

/** Of so many random bits a fast hash tells nothing. Case and dashes do not count. */
export function hashRecoveryCode(code: string): Buffer {
  return hashToken(code.replace(/[\s-]/g, "").toUpperCase());
}

export function openSecret(box: SecretBox, { user_id, secret_sealed }: rows.TotpRow): Buffer {
  return Buffer.from(box.open(secret_sealed, secretContext(user_id)), "base64");
}

export function secretContext(userId: string): string {
  return `totp:${userId}`;
}

/** What `reseal` must know. */
export const sealedTotpSecrets: SealedColumn = {
  table: "totp_secrets",
  column: "secret_sealed",
  key: ["user_id"],
  contextOf: secretContext,
};
