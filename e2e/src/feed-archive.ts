import pg from "pg";
import type { PipelineDb } from "../../server/src/database-roles.ts";
import { deleteOldEvents, readOldest } from "../../server/src/events/events.ts";
import type { FeedRecord } from "./feed-checker.ts";
import type { Frame } from "./listener.ts";

/** An event as stored in the table, read without the hub. */
export interface ArchivedEvent extends FeedRecord {
  conversationId: string | null;
  /** Who left by it. */
  leftId: string | null;
  at: Date;
}

/** All events of a workspace, also those that are deleted later: `collect` before you `clear`. */
export async function openFeedArchive(databaseUrl: string, workspaceId: string) {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const events: ArchivedEvent[] = [];
  let clearedUpTo = 0;

  async function collect(): Promise<void> {
    const { rows } = await client.query<{
      last_position: string;
      event_count: number;
      events: string;
      created_at: Date;
    }>(
      "SELECT last_position, event_count, events, created_at FROM events WHERE workspace_id = $1 AND last_position > $2 ORDER BY 1",
      [workspaceId, events.length],
    );
    for (const { last_position, event_count, events: text, created_at: at } of rows) {
      const batch = JSON.parse(text) as unknown[][];
      if (batch.length !== event_count) throw new Error(`A batch says ${event_count} and has ${batch.length} events.`);
      for (const stored of batch) events.push({ position: events.length + 1, at, ...archived(stored) });
      if (events.length !== Number(last_position)) throw new Error(`The feed has a hole before ${last_position}.`);
    }
  }

  return {
    events,
    collect,
    /** Up to which position events were deleted. */
    clearedUpTo: () => clearedUpTo,
    /** As maintenance does it, but of all events that are older than the one at this position. */
    async clearBefore(db: PipelineDb, position: number): Promise<void> {
      await collect();
      const event = events[position - 1];
      if (event === undefined) return;
      await deleteOldEvents(db, event.at, 0);
      clearedUpTo = Math.max(clearedUpTo, await readOldest(db, workspaceId));
    },
    [Symbol.asyncDispose]: () => client.end(),
  };
}

function archived([kind, id, ...rest]: unknown[]): Omit<ArchivedEvent, "position" | "at"> {
  switch (kind) {
    case "m":
      return { identity: `message ${rest[0]}`, conversationId: String(id), leftId: null };
    case "s":
      return { identity: `status ${rest[1]} ${rest[4]}`, conversationId: String(id), leftId: null };
    case "c":
      return { identity: `conversation ${id}`, conversationId: String(id), leftId: (rest[1] as string) ?? null };
    case "f":
      return { identity: `file ${rest[1]} file.${rest[2]}`, conversationId: id as string | null, leftId: null };
    case "t":
      return { identity: `task ${rest[0]} ${rest[4]} ${rest[5]}`, conversationId: null, leftId: null };
    case "a":
      return { identity: `account ${id} ${rest[2]}`, conversationId: null, leftId: null };
    default:
      return { identity: `endpoint ${id} ${rest[0]}`, conversationId: null, leftId: null };
  }
}

/** Of a frame, what `ArchivedEvent.identity` is of an event; null for a gap. */
export function identityOf(frame: Frame): string | null {
  switch (frame.type) {
    case "NEW_MESSAGE":
      return `message ${frame.message_id}`;
    case "MESSAGE_STATUS":
      return `status ${frame.delivery_id} ${frame.status}`;
    case "CONVERSATION":
      return `conversation ${(frame.conversation as { conversation_id: string }).conversation_id}`;
    case "FILE":
      return `file ${(frame.file as { file_id: string }).file_id} ${frame.event}`;
    case "TASK": {
      const { task_id, status, progress } = frame.task as { task_id: string; status: string; progress: number };
      return `task ${task_id} ${status} ${progress}`;
    }
    case "WEBHOOK_ENDPOINT":
      return `endpoint ${frame.webhook_endpoint_id} ${frame.status}`;
    case "CHANNEL_ACCOUNT":
      return `account ${frame.channel_account_id} ${frame.status}`;
    case "GAP":
      return null;
    default:
      throw new Error(`A frame ${frame.type} is no event.`);
  }
}
