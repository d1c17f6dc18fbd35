import { all, type Db } from "../lib/query.ts";

/** Conversations whose members are kept in memory, at the most; the least recently used go first. */
const maxConversations = 50_000;

/** Who is in which conversation, as of the last event that said that it changed. */
export function openMemberships(db: Db) {
  const kept = new Map<string, readonly string[]>();
  /** Changes so far: what was read before one of them may be out of date. */
  let changes = 0;

  return {
    /** One query for all that are not known. Without it `of` knows nobody. */
    async load(conversationIds: Iterable<string>): Promise<void> {
      const missing = [...new Set(conversationIds)].filter((id) => !kept.has(id));
      if (missing.length === 0) return;
      const changesBefore = changes;
      const rows = await all<{ conversation_id: string; participant_ids: string[] }>(
        db,
        `SELECT conversation_id, array_agg(participant_id) AS participant_ids
         FROM members WHERE conversation_id = ANY ($1) GROUP BY conversation_id`,
        [missing],
      );
      if (changes !== changesBefore) return this.load(missing);
      for (const id of missing) kept.set(id, []);
      for (const { conversation_id, participant_ids } of rows) kept.set(conversation_id, participant_ids);
      for (const oldest of kept.keys()) {
        if (kept.size <= maxConversations) break;
        kept.delete(oldest);
      }
    },
    of: (conversationId: string): readonly string[] => kept.get(conversationId) ?? [],
    /** After a change: the next `load` reads it anew. */
    forget(conversationId: string): void {
      changes += 1;
      kept.delete(conversationId);
    },
  };
}

export type Memberships = ReturnType<typeof openMemberships>;
