import type { Role } from "../../../contract/src/access.ts";
import { RequestError } from "../errors.ts";
import { BatcherFull, openBatcher } from "../lib/batcher.ts";
import type { Clock } from "../lib/clock.ts";
import { all, type Db, inOrder } from "../lib/query.ts";
import { type LiveApiKey, useApiKeys } from "./api-keys.ts";

/**
 * What the database says of credentials right now. Many questions at once are few statements: each takes all that came
 * while the one before was under way, so thousands of callers who come back at the same moment do not cost a statement
 * each.
 */
export interface LiveCredentials {
  /** The session's workspace and the user's role now; null when the session has ended, is not this user's, or the user is disabled. */
  session(sessionId: string, userId: string): Promise<LiveSession | null>;
  /** The key with this hash, when it still works; its use is noted. */
  apiKey(keyHash: Buffer): Promise<LiveApiKey | null>;
}

export interface LiveSession {
  workspaceId: string;
  role: Role;
}

/** Questions to a statement, at the most. */
const batchSize = 5_000;
/** Questions that may wait; beyond it, 503. */
const queueSize = 50_000;
/** Statements at the same time, of each kind. */
const statements = 2;

export function openLiveCredentials({ db, clock }: { db: Db; clock: Clock }): LiveCredentials {
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
  throw new RequestError("OVERLOADED", "Too many callers come at once; try again in a moment.", {
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
