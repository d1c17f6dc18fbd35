import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";
import type { Log } from "../lib/postgres.ts";
import { repeat } from "../lib/repeat.ts";

export interface Sighting {
  workspaceId: string;
  userId: string;
  isOnline: boolean;
}

export interface Sightings {
  /** A user came online in this process, or left it. */
  set(sighting: Sighting): void;
  /** Users of a workspace who are online in any process. */
  online(workspaceId: string): string[];
  close(): Promise<void>;
}

export interface SightingsDeps {
  /** Names this process. */
  self: string;
  fanout: Fanout;
  clock: Clock;
  log: Log;
  /** A user came online in the first process, or left the last. */
  onChange: (change: Sighting) => void;
}

/** What processes say to each other. */
interface Word {
  from: string;
  /** Who came and left. */
  seen?: [workspaceId: string, userId: string, isOnline: boolean][];
  /** All who are there follow; those who were said to be and are not named until the next `count` are gone. */
  anew?: boolean;
  /** It lives, and so many are there: a listener who knows of another number has missed something. */
  count?: number;
  /** Wants to hear it all, from this process or from everybody. */
  asks?: string;
}

const channel = "presence";
const everybody = "*";
/** How often a process says that it lives, and after how long without a word its users count as gone; milliseconds. */
const aliveEveryMs = 5_000;
const deadAfterMs = 20_000;
/** Users named in one message, at the most: about 90 bytes each. */
const maxNamed = 70;

/** Who is online where, as the processes tell each other. Best effort: a word that is lost is made up for by the next. */
export function openSightings({ self, fanout, clock, log, onChange }: SightingsDeps): Sightings {
  /** By user: the processes where they are, and their workspace. */
  const places = new Map<string, { workspaceId: string; processes: Set<string> }>();
  const heardAt = new Map<string, number>();
  /** By process: who was there before it began to tell anew, and has not been named since. */
  const unnamed = new Map<string, Set<string>>();
  const stopHearing = fanout.subscribe(channel, (message) => hear(JSON.parse(message) as Word));
  const stopReconnect = fanout.onReconnect(() => say({ asks: everybody }));
  const living = repeat(clock, aliveEveryMs, live, (error) => {
    log.warn({ err: error }, "presence could not be kept");
  });
  say({ asks: everybody });

  function say(word: Omit<Word, "from">): void {
    fanout.publish(channel, JSON.stringify({ from: self, ...word }));
  }

  function sayAll(seen: NonNullable<Word["seen"]>): void {
    for (let start = 0; start < seen.length; start += maxNamed) say({ seen: seen.slice(start, start + maxNamed) });
  }

  function hear({ from, seen = [], anew, count, asks }: Word): void {
    if (from === self) return;
    heardAt.set(from, clock.elapsed());
    if (anew) unnamed.set(from, new Set(seenAt(from).map(([, userId]) => userId)));
    for (const [workspaceId, userId, isOnline] of seen) {
      unnamed.get(from)?.delete(userId);
      note(from, { workspaceId, userId, isOnline });
    }
    if (count !== undefined) compare(from, count);
    if (asks !== everybody && asks !== self) return;
    say({ anew: true });
    sayAll(seenAt(self));
    say({ count: seenAt(self).length });
  }

  function compare(from: string, count: number): void {
    for (const userId of unnamed.get(from) ?? []) leave(from, userId);
    unnamed.delete(from);
    if (seenAt(from).length !== count) say({ asks: from });
  }

  function seenAt(process: string): NonNullable<Word["seen"]> {
    return [...places]
      .filter(([, { processes }]) => processes.has(process))
      .map(([userId, { workspaceId }]) => [workspaceId, userId, true]);
  }

  function leave(process: string, userId: string): void {
    const known = places.get(userId);
    if (known !== undefined) note(process, { workspaceId: known.workspaceId, userId, isOnline: false });
  }

  function note(process: string, { workspaceId, userId, isOnline }: Sighting): void {
    const known = places.get(userId);
    if (isOnline) {
      if (known !== undefined) known.processes.add(process);
      else {
        places.set(userId, { workspaceId, processes: new Set([process]) });
        onChange({ workspaceId, userId, isOnline: true });
      }
    } else if (known?.processes.delete(process) && known.processes.size === 0) {
      places.delete(userId);
      onChange({ workspaceId, userId, isOnline: false });
    }
  }

  async function live(): Promise<void> {
    say({ count: seenAt(self).length });
    for (const [process, at] of heardAt) {
      if (clock.elapsed() - at < deadAfterMs) continue;
      heardAt.delete(process);
      unnamed.delete(process);
      for (const userId of [...places.keys()]) leave(process, userId);
    }
  }

  return {
    set(sighting) {
      note(self, sighting);
      sayAll([[sighting.workspaceId, sighting.userId, sighting.isOnline]]);
    },
    online: (workspaceId) => [...places].filter(([, place]) => place.workspaceId === workspaceId).map(([id]) => id),
    async close() {
      stopHearing();
      stopReconnect();
      // Their grace ends with the process: whoever has come back elsewhere is known there.
      sayAll(seenAt(self).map(([workspaceId, userId]) => [workspaceId, userId, false]));
      await living.close();
    },
  };
}
