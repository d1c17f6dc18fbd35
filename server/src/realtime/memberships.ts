import { all, type Db } from "../lib/query.ts";

/** Who is in a conversation that was asked about. */
export type MembersOf = (conversationId: string) => readonly string[];

/** Conversations whose members are kept in memory, at the most; the least recently used go first. */
const maxConversations = 20_000;

/**
 * Who is in which conversation of one feed, as of the last event that said that it changed. Whoever keeps it must `forget`
 * what the feed says has changed, and all when it misses a part of the feed.
 */
export function openMemberships(db: Db) {
  const kept = new Map<string, readonly string[]>();
  /** What is being read; a conversation that changes meanwhile is taken out, and read again. */
  const reading = new Map<string, Promise<void>>();

  function read(conversationIds: readonly string[]): void {
    const isCurrent = (id: string) => reading.get(id) === done;
    const done = readMembers(db, conversationIds)
      .then((found) => {
        for (const id of conversationIds) if (isCurrent(id)) kept.set(id, found.get(id) ?? []);
      })
      .finally(() => {
        for (const id of conversationIds) if (isCurrent(id)) reading.delete(id);
      });
    for (const id of conversationIds) reading.set(id, done);
  }

  /** Members as they are known at this moment: the answer does not change afterwards. */
  function take(conversationIds: readonly string[]): MembersOf {
    const taken = new Map<string, readonly string[]>();
    for (const id of conversationIds) {
      const members = kept.get(id)!;
      kept.delete(id);
      kept.set(id, members);
      taken.set(id, members);
    }
    for (const oldest of kept.keys()) {
      if (kept.size <= maxConversations) break;
      kept.delete(oldest);
    }
    return (id) => taken.get(id) ?? [];
  }

  return {
    /** One query for all that are not known, also when many ask for them at once. */
    async load(conversationIds: Iterable<string>): Promise<MembersOf> {
      const wanted = [...new Set(conversationIds)];
      for (;;) {
        const missing = wanted.filter((id) => !kept.has(id));
        if (missing.length === 0) return take(wanted);
        const unread = missing.filter((id) => !reading.has(id));
        if (unread.length > 0) read(unread);
        await Promise.all(new Set(missing.map((id) => reading.get(id))));
      }
    },
    /** After a change: the next `load` reads it anew. */
    forget(conversationId: string): void {
      kept.delete(conversationId);
      reading.delete(conversationId);
    },
    forgetAll(): void {
      kept.clear();
      reading.clear();
    },
  };
}

export type Memberships = ReturnType<typeof openMemberships>;

async function readMembers(db: Db, conversationIds: readonly string[]): Promise<Map<string, string[]>> {
  const rows = await all<{ conversation_id: string; participant_ids: string[] }>(
    db,
    `SELECT conversation_id, array_agg(participant_id) AS participant_ids
     FROM members WHERE conversation_id = ANY ($1) GROUP BY conversation_id`,
    [conversationIds],
  );
  return new Map(rows.map((row) => [row.conversation_id, row.participant_ids]));
}
