import type { EventNotifier } from "../events/events.ts";
import type { Clock } from "../lib/clock.ts";
import { repeat } from "../lib/repeat.ts";
import type { Troubles } from "../lib/troubles.ts";
import type { EnabledEndpoint } from "./endpoint-rows.ts";
import { type FollowDeps, follow, followedWorkspaces } from "./follow.ts";

export interface FollowerDeps extends FollowDeps {
  clock: Clock;
  troubles: Troubles;
  eventNotifier: EventNotifier;
  wake: (endpoints: EnabledEndpoint[]) => void;
}

const part = "follow events for webhook endpoints";
const atOnce = 4;
/** Finds lost notifications, and workspaces with their first endpoint. */
const pollEveryMs = 1_000;

/** Follows the feeds of all workspaces with enabled endpoints. Any number of processes may. */
export function openFollower(deps: FollowerDeps) {
  const { db, clock, troubles, eventNotifier, wake } = deps;
  /** Workspaces with enabled endpoints, as of the last poll: events of others cost nothing. */
  let followed = new Set<string>();
  /** To be read. A workspace that is being read is read again afterwards. */
  const waiting = new Set<string>();
  const reading = new Set<string>();
  const failing = new Set<string>();
  let isClosing = false;
  let whenIdle = () => {};

  const polling = repeat(clock, pollEveryMs, poll, complain);
  const unsubscribe = eventNotifier.subscribe((workspaceId) => {
    if (workspaceId === null) polling.wake();
    else if (followed.has(workspaceId)) touch(workspaceId);
  });

  async function poll(): Promise<void> {
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
      if (hasMore) waiting.add(workspaceId);
    } catch (error) {
      // The next poll finds it again.
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
    poll,
    async close(): Promise<void> {
      isClosing = true;
      unsubscribe();
      await polling.close();
      if (reading.size > 0) await new Promise<void>((resolve) => (whenIdle = resolve));
    },
  };
}
