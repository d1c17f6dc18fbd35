import { all, type Db } from "../lib/query.ts";

export type MembersOf = (conversationId: string) => readonly string[];

/** Most conversations whose members are cached; the least recently used go first. */
const maxConversations = 20_000;

type Found = ReadonlyMap<string, readonly string[]>;

/**
 * A cache of who is in which conversation of one feed. The owner must `forget` a conversation when the feed says that it
 * changed, and all when it misses a part of the feed.
 */
export class Memberships {
  readonly #db: Db;
  readonly #cached = new Map<string, readonly string[]>();
  /** Reads under way. A conversation that changes meanwhile is removed, and what was read of it is not cached. */
  readonly #reading = new Map<string, Promise<Found>>();

  constructor(db: Db) {
    this.#db = db;
  }

  /**
   * One query for all that are not cached, also when many ask for them at once. The result is as of this call or newer,
   * and does not change afterwards.
   */
  async load(conversationIds: Iterable<string>): Promise<MembersOf> {
    const loaded = new Map<string, readonly string[]>();
    const missing: string[] = [];
    for (const id of new Set(conversationIds)) {
      const members = this.#cached.get(id);
      if (members === undefined) missing.push(id);
      else {
        loaded.set(id, members);
        this.#cached.delete(id);
        this.#cached.set(id, members);
      }
    }
    const unread = missing.filter((id) => !this.#reading.has(id));
    if (unread.length > 0) this.#read(unread);
    const found = await Promise.all(missing.map((id) => this.#reading.get(id)!));
    for (const [index, id] of missing.entries()) loaded.set(id, found[index]!.get(id) ?? []);
    this.#evict();
    return (id) => loaded.get(id) ?? [];
  }

  forget(conversationId: string): void {
    this.#cached.delete(conversationId);
    this.#reading.delete(conversationId);
  }

  forgetAll(): void {
    this.#cached.clear();
    this.#reading.clear();
  }

  #read(conversationIds: readonly string[]): void {
    const isCurrent = (id: string) => this.#reading.get(id) === done;
    const done = readMembers(this.#db, conversationIds)
      .then((found) => {
        for (const id of conversationIds) if (isCurrent(id)) this.#cached.set(id, found.get(id) ?? []);
        return found;
      })
      .finally(() => {
        for (const id of conversationIds) if (isCurrent(id)) this.#reading.delete(id);
      });
    for (const id of conversationIds) this.#reading.set(id, done);
  }

  #evict(): void {
    for (const oldest of this.#cached.keys()) {
      if (this.#cached.size <= maxConversations) break;
      this.#cached.delete(oldest);
    }
  }
}

async function readMembers(db: Db, conversationIds: readonly string[]): Promise<Found> {
  const rows = await all<{ conversation_id: string; participant_ids: string[] }>(
    db,
    `SELECT conversation_id, array_agg(participant_id) AS participant_ids
     FROM members WHERE conversation_id = ANY ($1) GROUP BY conversation_id`,
    [conversationIds],
  );
  return new Map(rows.map((row) => [row.conversation_id, row.participant_ids]));
}
