/**
 * What one reader was told, over all its connections, held against the feed: every event that it may see, once and in
 * order, or an explicit gap where events were cleared away. Pure; linear in both.
 */

/** An event as the feed keeps it. */
export interface FeedRecord {
  position: number;
  /** What it is and is about: two different events of a feed may have the same one. */
  identity: string;
}

/** An event, or a gap, in the order in which the reader got it. `identity` of a gap is null. */
export interface ToldFrame {
  position: number;
  identity: string | null;
}

/** `maybe`: it came while the reader's membership was changing, so it may be told or not. */
export type Sight = "always" | "never" | "maybe";

export interface ToldStream {
  /** All events, oldest first, at the positions from `feed[0].position` on without holes. */
  feed: readonly FeedRecord[];
  /** The position after which the reader began. */
  start: number;
  told: readonly ToldFrame[];
  sees: (event: FeedRecord) => Sight;
  /** Events up to here were cleared away at some time: who stood before it may be told of a gap. */
  clearedUpTo: number;
}

export interface FeedProblem {
  kind: "missing" | "twice" | "out of order" | "not theirs" | "unknown" | "another" | "needless gap" | "gap backwards";
  position: number;
}

export function checkStream({ feed, start, told, sees, clearedUpTo }: ToldStream): FeedProblem[] {
  const problems: FeedProblem[] = [];
  const first = feed[0]?.position ?? 1;
  const last = first + feed.length - 1;
  const had = new Set<number>();
  let position = start;

  /** What lies between two events that were told must be of no interest to the reader. */
  function passTo(next: number): void {
    for (let missed = Math.max(position + 1, first); missed < next && missed <= last; missed += 1) {
      if (sees(feed[missed - first]!) === "always") problems.push({ kind: "missing", position: missed });
    }
    position = next;
  }

  for (const { position: at, identity } of told) {
    if (identity === null) {
      if (at < position) problems.push({ kind: "gap backwards", position: at });
      if (position >= clearedUpTo) problems.push({ kind: "needless gap", position: at });
      position = Math.max(at, position);
      continue;
    }
    const event = feed[at - first];
    if (had.has(at)) problems.push({ kind: "twice", position: at });
    else if (at <= position) problems.push({ kind: "out of order", position: at });
    else passTo(at);
    had.add(at);
    if (event === undefined) problems.push({ kind: "unknown", position: at });
    else if (event.identity !== identity) problems.push({ kind: "another", position: at });
    else if (sees(event) === "never") problems.push({ kind: "not theirs", position: at });
  }
  passTo(last + 1);
  return problems;
}
