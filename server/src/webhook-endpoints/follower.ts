import type { EventNotifier } from "../events/events.ts";
import type { Clock } from "../lib/clock.ts";
import { repeat } from "../lib/repeat.ts";
import type { Troubles } from "../lib/troubles.ts";
import type { Subscriber } from "./endpoint-rows.ts";
import { type FollowDeps, follow, followedWorkspaces } from "./follow.ts";

export interface FollowerDeps extends FollowDeps {
  clock: Clock;
  troubles: Troubles;
  eventNotifier: EventNotifier;
  /** Something is due for these endpoints. */
  wake: (endpoints: Subscriber[]) => void;
}

const part = "follow events for webhook endpoints";
/** Workspaces read at once. */
const atOnce = 4;
/** Lost notifications, and workspaces that have their first endpoint, are found this soon, in milliseconds. */
const lookEveryMs = 1_000;

/** Follows the feeds of all workspaces that have enabled endpoints. Any number of processes may. */
export function openFollower(deps: FollowerDeps) {
  const { db, clock, troubles, eventNotifier, wake } = deps;
  /** Workspaces with enabled endpoints, as of the last poll: events of others cost nothing. */
  let followed = new Set<string>();
  /** To be read; a workspace that is just being read is read again afterwards. */
  const waiting = new Set<string>();
  const reading = new Set<string>();
  const failing = new Set<string>();
  let isClosing = false;
  let whenIdle = () => {};

  const unsubscribe = eventNotifier.subscribe((workspaceId) => {
    if (workspaceId === null) void look().catch(complain);
    else if (followed.has(workspaceId)) touch(workspaceId);
  });
  const looking = repeat(clock, lookEveryMs, look, complain);

  async function look(): Promise<void> {
    const found = await followedWorkspaces(db);
    if (failing.size === 0) troubles.worked(part);
    followed = new Set(found.map((row) => row.workspace_id));
    for (const { workspace_id, is_behind } of found) if (is_behind) touch(workspace_id);
  }

  function touch(workspaceId: string): void {
    waiting.add(workspaceId);
    pump();
  }

  function pump(): void {
    for (const workspaceId of waiting) {
      if (reading.size >= atOnce || isClosing) return;
      if (reading.has(workspaceId)) continue;
      waiting.delete(workspaceId);
      reading.add(workspaceId);
      void read(workspaceId);
    }
  }

  async function read(workspaceId: string): Promise<void> {
    try {
      const { endpoints, hasMore } = await follow(deps, workspaceId, new Date(clock.now()));
      failing.delete(workspaceId);
      if (endpoints.length > 0) wake(endpoints);
      // Behind the others: they take turns.
      if (hasMore) waiting.add(workspaceId);
    } catch (error) {
      // The next look finds it again.
      failing.add(workspaceId);
      complain(error);
    }
    reading.delete(workspaceId);
    if (reading.size === 0) whenIdle();
    pump();
  }

  function complain(error: unknown): void {
    troubles.failed(part, error);
  }

  return {
    look,
    async close(): Promise<void> {
      isClosing = true;
      unsubscribe();
      await looking.close();
      if (reading.size > 0) await new Promise<void>((resolve) => (whenIdle = resolve));
    },
  };
}
