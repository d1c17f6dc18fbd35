import type { Role } from "../../../contract/src/access.ts";
import type { IdentityDb } from "../database-roles.ts";
import { RequestError } from "../errors.ts";
import { BatcherFull, openBatcher } from "../lib/batcher.ts";
import type { Clock } from "../lib/clock.ts";
import { all, type Db, inOrder } from "../lib/query.ts";
import { type LiveApiKey, useApiKeys } from "./api-keys.ts";

/** Concurrent checks share statements: thousands of reconnecting clients do not cost one each. */
export interface LiveCredentials {
  /** Null when the session has ended or is not this user's, or the user is disabled. */
  session(sessionId: string, userId: string): Promise<LiveSession | null>;
  /** Null when the key does not work. Updates `last_used_at`. */
  apiKey(keyHash: Buffer): Promise<LiveApiKey | null>;
}

interface LiveSession {
  workspaceId: string;
  role: Role;
}

const batchSize = 5_000;
/** Questions that may wait; beyond it, 503. */
const queueSize = 50_000;
const statements = 2;

export function openLiveCredentials({ db, clock }: { db: IdentityDb; clock: Clock }): LiveCredentials {
  const bounds = { maxBatch: batchSize, maxWaiting: queueSize, maxRuns: statements, clock };
  const sessions = openBatcher<SessionQuestion, LiveSession | null>({
    ...bounds,
    run: (questions) => findLiveSessions(db, questions),
  });
  const apiKeys = openBatcher<Buffer, LiveApiKey | null>({
    ...bounds,
    run: (hashes) => useApiKeys(db, hashes, new Date(clock.now())),
  });
  return {
    session: (sessionId, userId) => sessions.submitOne({ sessionId, userId }).catch(refuseTooMany),
    apiKey: (keyHash) => apiKeys.submitOne(keyHash).catch(refuseTooMany),
  };
}

function refuseTooMany(error: unknown): never {
  if (!(error instanceof BatcherFull)) throw error;
  throw new RequestError("OVERLOADED", "Too many clients are connecting at once; try again in a moment.", {
    retryAfterSeconds: 2,
  });
}

interface SessionQuestion {
  sessionId: string;
  userId: string;
}

async function findLiveSessions(db: Db, questions: readonly SessionQuestion[]): Promise<(LiveSession | null)[]> {
  const rows = await all<LiveSession & { position: number }>(
    db,
    `SELECT asked.position, u.workspace_id AS "workspaceId", u.role
       FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS asked (session_id, user_id, position)
       JOIN sessions s ON s.session_id = asked.session_id AND s.user_id = asked.user_id AND s.revoked_at IS NULL
       JOIN users u ON u.user_id = s.user_id AND u.disabled_at IS NULL`,
    [questions.map(({ sessionId }) => sessionId), questions.map(({ userId }) => userId)],
  );
  return inOrder(questions.length, rows);
}
