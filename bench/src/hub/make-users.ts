import type { Role } from "../../../contract/src/access.ts";
import { openTokens, sharedSecrets } from "../../../server/src/credentials/credentials.ts";
import { systemClock } from "../../../server/src/lib/clock.ts";
import { newId } from "../../../server/src/lib/ids.ts";
import { readOrCreateSecrets } from "../../../server/src/lib/secrets-file.ts";
import { runStatement } from "../watch/statements.ts";
import type { BenchHub } from "./bench-hub.ts";

const hourMs = 3_600_000;

interface UserSession {
  userId: string;
  authorization: string;
}

/**
 * Users of a workspace, logged in; each has its id as username, and the admin's password. Their rows are written by hand and their tokens signed here, since ten thousand logins
 * take long and are measured elsewhere.
 */
export async function makeUsers(
  { databaseUrl, dataDir }: Pick<BenchHub, "databaseUrl" | "dataDir">,
  {
    workspaceId,
    role,
    users,
    sessionsEach = 1,
  }: { workspaceId: string; role: Role; users: number; sessionsEach?: number },
): Promise<UserSession[]> {
  const keys = sharedSecrets(readOrCreateSecrets(dataDir).jwt.map((secret) => secret.reveal()));
  const tokens = openTokens({ clock: systemClock, keys, accessTokenTtlMs: hourMs, refreshTokenTtlMs: hourMs });
  const userIds = Array.from({ length: users }, () => newId(Date.now()));
  const sessions = userIds.flatMap((userId) =>
    Array.from({ length: sessionsEach }, () => ({ userId, sessionId: newId(Date.now()) })),
  );
  await runStatement(
    databaseUrl,
    `WITH made AS (
       INSERT INTO participants (participant_id, workspace_id, kind, display_name, created_at)
       SELECT user_id, $1, 'user', user_id::text, now() FROM unnest($2::uuid[]) AS u (user_id)
     ), users AS (
       INSERT INTO users (user_id, workspace_id, username, email, role, password_hash, created_at)
       SELECT u.user_id, $1, u.user_id::text, u.user_id || '@example.com', $3, admin.password_hash, now()
       FROM unnest($2::uuid[]) AS u (user_id), users AS admin WHERE admin.username = 'admin'
     )
     INSERT INTO sessions (session_id, user_id, family_hash, refresh_hash, expires_at, created_at)
     SELECT session_id, user_id, session_id::text::bytea, '', now() + interval '1 hour', now()
     FROM unnest($4::uuid[], $5::uuid[]) AS s (session_id, user_id)`,
    [workspaceId, userIds, role, sessions.map(({ sessionId }) => sessionId), sessions.map(({ userId }) => userId)],
  );
  return Promise.all(
    sessions.map(async (session) => {
      const token = await tokens.issue({ ...session, workspaceId, role });
      return { userId: session.userId, authorization: `Bearer ${token}` };
    }),
  );
}
