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
  /** What is being read. A conversation that changes meanwhile is taken out, and what was read of it is not kept. */
  const reading = new Map<string, Promise<Found>>();

  function read(conversationIds: readonly string[]): void {
    const isCurrent = (id: string) => reading.get(id) === done;
    const done = readMembers(db, conversationIds)
      .then((found) => {
        for (const id of conversationIds) if (isCurrent(id)) kept.set(id, found.get(id) ?? []);
        return found;
      })
      .finally(() => {
        for (const id of conversationIds) if (isCurrent(id)) reading.delete(id);
      });
    for (const id of conversationIds) reading.set(id, done);
  }

  function evict(): void {
    for (const oldest of kept.keys()) {
      if (kept.size <= maxConversations) break;
      kept.delete(oldest);
    }
  }

  return {
    /**
     * One query for all that are not known, also when many ask for them at once. The answer does not change afterwards; it
     * is as of this call or newer.
     */
    async load(conversationIds: Iterable<string>): Promise<MembersOf> {
      const taken = new Map<string, readonly string[]>();
      const missing: string[] = [];
      for (const id of new Set(conversationIds)) {
        const members = kept.get(id);
        if (members === undefined) missing.push(id);
        else {
          taken.set(id, members);
          kept.delete(id);
          kept.set(id, members);
        }
      }
      const unread = missing.filter((id) => !reading.has(id));
      if (unread.length > 0) read(unread);
      const found = await Promise.all(missing.map((id) => reading.get(id)!));
      for (const [index, id] of missing.entries()) taken.set(id, found[index]!.get(id) ?? []);
      evict();
      return (id) => taken.get(id) ?? [];
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

type Found = ReadonlyMap<string, readonly string[]>;

async function readMembers(db: Db, conversationIds: readonly string[]): Promise<Found> {
  const rows = await all<{ conversation_id: string; participant_ids: string[] }>(
    db,
    `SELECT conversation_id, array_agg(participant_id) AS participant_ids
     FROM members WHERE conversation_id = ANY ($1) GROUP BY conversation_id`,
    [conversationIds],
  );
  return new Map(rows.map((row) => [row.conversation_id, row.participant_ids]));
}
