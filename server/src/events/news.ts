import { randomUUID } from "node:crypto";
import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";

/** Says in every process that a workspace has new events. It may be lost or come for nothing: who must know looks too. */
export interface News {
  /** After the commit that wrote events. Cheap: what comes within a few milliseconds leaves as one. */
  tell(workspaceId: string): void;
  /** Called with the workspace; with null when any may have news, after a lost connection. Returns how to stop. */
  onNews(listener: (workspaceId: string | null) => void): () => void;
}

/** The least time between two messages to the other processes; the first leaves at once. */
const pauseMs = 5;
/** Workspaces named in one message; with more, everybody is told to look. */
const maxNamed = 150;
const channel = "events";

export function openNews({ fanout, clock }: { fanout: Fanout; clock: Clock }): News {
  const self = randomUUID();
  const listeners = new Set<(workspaceId: string | null) => void>();
  const waiting = new Set<string>();
  let isPausing = false;

  const tellHere = (workspaceId: string | null) => {
    for (const listener of listeners) listener(workspaceId);
  };
  fanout.onReconnect(() => tellHere(null));
  fanout.subscribe(channel, (message) => {
    const [sender, ...workspaceIds] = message.split(" ");
    if (sender === self) return;
    if (workspaceIds.length === 0) tellHere(null);
    for (const workspaceId of workspaceIds) tellHere(workspaceId);
  });

  function tellOthers(): void {
    const named = waiting.size > maxNamed ? [] : [...waiting];
    waiting.clear();
    fanout.publish(channel, [self, ...named].join(" "));
    isPausing = true;
    clock.after(pauseMs, () => {
      isPausing = false;
      if (waiting.size > 0) tellOthers();
    });
  }

  return {
    tell(workspaceId) {
      tellHere(workspaceId);
      waiting.add(workspaceId);
      if (!isPausing) tellOthers();
    },
    onNews(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
