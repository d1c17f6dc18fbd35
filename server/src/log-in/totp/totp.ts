import { randomBytes } from "node:crypto";
import { recordAuditEvent } from "../../audit/audit.ts";
import { hashToken, type Principal, requireMayManageRole } from "../../credentials/credentials.ts";
import type { RequestDb } from "../../database-roles.ts";
import { forbidden, notFound, RequestError } from "../../errors.ts";
import type { Clock } from "../../lib/clock.ts";
import { transaction } from "../../lib/postgres.ts";
import type { Db } from "../../lib/query.ts";
import type { SealedColumn } from "../../lib/reseal.ts";
import type { SecretBox } from "../../lib/secret-box.ts";
import { getUser } from "../../users/users.ts";
import type { LogInTries } from "../log-in-tries.ts";
import { matchingStep, newTotpSecret, otpauthUrl, toBase32 } from "./one-time-code.ts";
import * as rows from "./totp-rows.ts";

export interface TotpDeps {
  db: RequestDb;
  clock: Clock;
  box: SecretBox;
}

const recoveryCodeCount = 10;

/** Takes effect once a code is confirmed; another call replaces it. CONFLICT when a second factor is on already. */
export async function beginTotp(
  { db, clock, box }: TotpDeps,
  principal: Principal,
): Promise<{ secret: string; otpauth_url: string }> {
  requireUser(principal);
  const { userId, workspaceId } = principal;
  const user = await getUser(db, { userId, workspaceId });
  const secret = newTotpSecret();
  const secretSealed = box.seal(secret.toString("base64"), secretContext(userId));
  if (!(await rows.insertTotp(db, { userId, workspaceId, secretSealed, now: new Date(clock.now()) }))) throw isOn();
  return { secret: toBase32(secret), otpauth_url: otpauthUrl(secret, user.username) };
}

/** From now on login requires a code. FORBIDDEN for a wrong one. The recovery codes are returned only here. */
export async function confirmTotp(
  { db, clock, box }: TotpDeps,
  principal: Principal,
  code: string,
): Promise<{ recovery_codes: string[] }> {
  requireUser(principal);
  const { userId, workspaceId } = principal;
  const totp = await rows.findTotp(db, userId);
  if (totp === null) throw new RequestError("CONFLICT", "Start with POST /v1/me/totp.");
  if (totp.confirmed_at !== null) throw isOn();
  const step = matchingStep(openSecret(box, totp), code, clock.now(), totp.last_step);
  if (step === null) throw forbidden(wrongCode);
  const recoveryCodes = Array.from({ length: recoveryCodeCount }, newRecoveryCode);
  await transaction(db, async (tx) => {
    const confirmed = { userId, secretSealed: totp.secret_sealed, step, now: new Date(clock.now()) };
    if (!(await rows.confirmTotp(tx, confirmed))) throw isOn();
    await rows.insertRecoveryCodes(tx, { userId, workspaceId, codeHashes: recoveryCodes.map(hashRecoveryCode) });
    await recordAuditEvent(tx, principal, { action: "second_factor.enabled", target: { type: "user", id: userId } });
  });
  return { recovery_codes: recoveryCodes };
}

/** A stolen access token is not enough. FORBIDDEN for a wrong code; tries are limited, see `LogInTries`. */
export async function endTotp(
  { tries, ...deps }: TotpDeps & { tries: LogInTries },
  principal: Principal,
  code: string,
): Promise<void> {
  requireUser(principal);
  const isEnded = await transaction(deps.db, async (tx) => {
    const totp = await rows.lockTotp(tx, principal.userId);
    if (totp === "busy") throw oneAtATime();
    if (totp === null) throw notFound("second factor");
    if (totp.confirmed_at !== null) {
      const guess = await tries.take({ userId: principal.userId });
      if (!(await isRightCode({ ...deps, db: tx }, totp, code))) return false;
      await tries.succeeded(guess);
    }
    await rows.deleteTotp(tx, principal.userId);
    const target = { type: "user", id: principal.userId };
    await recordAuditEvent(tx, principal, { action: "second_factor.removed", target });
    return true;
  });
  if (!isEnded) throw forbidden(wrongCode);
}

/** For a lost phone. RESOURCE_NOT_FOUND without a second factor, FORBIDDEN as `requireMayManageRole`. */
export async function removeTotp({ db }: { db: RequestDb }, principal: Principal, userId: string): Promise<void> {
  await transaction(db, async (tx) => {
    const { role } = await getUser(tx, { workspaceId: principal.workspaceId, userId });
    requireMayManageRole(principal, role);
    if (!(await rows.deleteTotp(tx, userId))) throw notFound("second factor");
    await recordAuditEvent(tx, principal, { action: "second_factor.removed", target: { type: "user", id: userId } });
  });
}

function newRecoveryCode(): string {
  return toBase32(randomBytes(10)).match(/.{4}/g)!.join("-");
}

function requireUser({ sessionId }: Principal): void {
  if (sessionId === null) throw forbidden("An API key has no second factor: log in with a password to manage yours.");
}

function oneAtATime(): RequestError {
  const message = "Another code is being checked: send one at a time.";
  return new RequestError("RATE_LIMIT_EXCEEDED", message, { retryAfterSeconds: 1 });
}

function isOn(): RequestError {
  return new RequestError("CONFLICT", "A second factor is on already: remove it first with DELETE /v1/me/totp.");
}

interface SecondFactorDeps {
  db: Db;
  clock: Clock;
  box: SecretBox;
}

/** See `LogInDeps.secondFactor`. Each code works once; AUTH_REQUIRED has `totp_required` in its details. */
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

const wrongCode = "The code is wrong, or was used before: send the current one.";

async function isRightCode({ db, clock, box }: SecondFactorDeps, totp: rows.TotpRow, code: string): Promise<boolean> {
  const step = matchingStep(openSecret(box, totp), code, clock.now(), totp.last_step);
  if (step !== null) return rows.useStep(db, totp.user_id, step);
  return rows.useRecoveryCode(db, totp.user_id, hashRecoveryCode(code));
}

/** A fast hash is enough for 80 random bits. Case and dashes do not count. */
function hashRecoveryCode(code: string): Buffer {
  return hashToken(code.replace(/[\s-]/g, "").toUpperCase());
}

function openSecret(box: SecretBox, { user_id, secret_sealed }: rows.TotpRow): Buffer {
  return Buffer.from(box.open(secret_sealed, secretContext(user_id)), "base64");
}

function secretContext(userId: string): string {
  return `totp:${userId}`;
}

export const sealedTotpSecrets: SealedColumn = {
  table: "totp_secrets",
  column: "secret_sealed",
  key: ["user_id"],
  contextOf: secretContext,
};
