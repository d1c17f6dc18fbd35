import { deadLetters } from "../../../contract/src/dead-letters.ts";
import { anyAgent } from "../credentials/credentials.ts";
import {
  countDeadLetters,
  type DeadLetter,
  deadLetterId,
  discardDeadLetter,
  listDeadLetters,
  type ReplayDeps,
  replayDeadLetter,
  replayDeadLetters,
} from "../dead-letters/dead-letters.ts";
import { invalid } from "../errors.ts";
import type { App } from "../http/app.ts";
import { decodeCursor, toPage } from "../http/pages.ts";
import { route } from "../http/route.ts";
import { showDelivery } from "../messages/messages.ts";

export function deadLetterRoutes(app: App, deps: Omit<ReplayDeps, "db">): void {
  route(app, deadLetters.listDeadLetters, async ({ principal: { workspaceId }, db, query }) => {
    const { limit = 50, cursor, channel, code } = query;
    const after = decodeCursor(cursor);
    const rows = await listDeadLetters(db, { workspaceId, channel, code, limit: limit + 1, after });
    return toPage(rows, limit, show, (row) => ({ at: row.failed_at, id: deadLetterId(row) }));
  });

  route(app, deadLetters.replayDeadLetter, async ({ principal, db, params }) => {
    await replayDeadLetter({ ...deps, db }, principal, params.id);
    return { replayed: 1 };
  });

  route(
    app,
    deadLetters.replayDeadLetters,
    async ({ principal, db, body: { all, dry_run = false, ...filter } }, reply) => {
      if (all === undefined && filter.channel === undefined && filter.code === undefined) {
        throw invalid("Give a channel or a code, or all: true to replay every dead letter.");
      }
      const matching = await countDeadLetters(db, { workspaceId: principal.workspaceId, ...filter });
      reply.status(dry_run ? 200 : 202);
      return { dry_run, matching, replayed: dry_run ? 0 : await replayDeadLetters({ ...deps, db }, principal, filter) };
    },
  );

  route(app, deadLetters.deleteDeadLetter, ({ principal, db, params }) => discardDeadLetter(db, principal, params.id));
}

function show(letter: DeadLetter) {
  if (letter.kind !== "webhook") {
    const { kind, message_id, conversation_id } = letter;
    return { kind, ...showDelivery(letter, anyAgent), message_id, conversation_id };
  }
  const { received_at, failed_at } = letter;
  return {
    ...letter,
    status: "failed" as const,
    received_at: received_at.toISOString(),
    failed_at: failed_at.toISOString(),
  };
}
