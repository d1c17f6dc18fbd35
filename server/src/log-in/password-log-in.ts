import type { Origin } from "../audit/audit.ts";
import { openSession, type SessionDeps, type TokenPair } from "../credentials/credentials.ts";
import { RequestError } from "../errors.ts";
import { type Db, maybe } from "../lib/query.ts";
import { isUsername } from "../users/users.ts";
import type { LogInTries } from "./log-in-tries.ts";
import { type PasswordHasher, sourceOf } from "./password.ts";
import { recordRefused } from "./refused-log-ins.ts";

export interface LogInDeps extends SessionDeps {
  hasher: PasswordHasher;
  tries: LogInTries;
  /** Called after the right password. AUTH_INVALID for a wrong code, AUTH_REQUIRED for a missing one. */
  secondFactor: (userId: string, code: string | undefined) => Promise<void>;
}

/**
 * Opens a session for the right password. An unknown user and a wrong password get the same AUTH_INVALID after the same
 * work. RATE_LIMIT_EXCEEDED after too many failures, see `LogInTries`; OVERLOADED when too many passwords are being
 * checked.
 */
export async function logIn(
  deps: LogInDeps,
  origin: Origin,
  { username, password, code }: { username: string; password: string; code?: string | undefined },
): Promise<TokenPair & { user_id: string }> {
  const { db, hasher, tries, secondFactor } = deps;
  const guesser = { username, ip: origin.ip };
  const source = sourceOf(origin, username.toLowerCase());
  hasher.requireRoom(source.address);
  const { isTrusted } = await tries.admit(guesser);
  const user = isUsername(username) ? await findByUsername(db, username) : null;
  // A trusted IP address has its own share of the queue, which other IP addresses that try the account cannot fill.
  const account = isTrusted ? `${source.account} at ${source.address}` : source.account;
  const { guess, error, isPassword } = await hasher.inTurn({ ...source, account }, async (verify) => {
    const guess = await tries.take(guesser);
    const isRight = await verify(user?.password_hash ?? null, password);
    if (user === null || !isRight) return { guess, error: wrongPassword(), isPassword: true };
    return { guess, error: await refusal(secondFactor(user.user_id, code)), isPassword: false };
  });
  if (error !== null || user === null) {
    const reason = user === null ? "unknown_user" : isPassword ? "wrong_password" : "wrong_second_factor";
    const refused = error ?? wrongPassword();
    if (refused.code === "AUTH_INVALID") await recordRefused(db, origin, user, reason);
    else await tries.refund(guess);
    throw refused;
  }
  const tokens = await openSession(deps, {
    userId: user.user_id,
    origin,
    method: "password",
    passwordHash: user.password_hash,
  });
  await tries.succeeded(guess);
  return { ...tokens, user_id: user.user_id };
}

async function refusal(step: Promise<void>): Promise<RequestError | null> {
  try {
    await step;
    return null;
  } catch (error) {
    if (error instanceof RequestError) return error;
    throw error;
  }
}

function findByUsername(db: Db, username: string) {
  return maybe<{ user_id: string; workspace_id: string; password_hash: string | null }>(
    db,
    "SELECT user_id, workspace_id, password_hash FROM users WHERE lower(username) = lower($1)",
    [username],
  );
}

function wrongPassword(): RequestError {
  return new RequestError("AUTH_INVALID", "The username or the password is wrong.");
}
