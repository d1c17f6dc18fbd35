/**
 * Compares what one client received, over all its connections, with the feed: every event that it may see, once and in
 * order, or a gap where events were deleted. Pure; linear in both.
 */

/** An event of the feed. */
export interface FeedRecord {
  position: number;
  /** What it is and is about: two different events of a feed may have the same one. */
  identity: string;
}

/** An event, or a gap, in the order of arrival. `identity` of a gap is null. */
export interface ReceivedFrame {
  position: number;
  identity: string | null;
}

/** `maybe`: it came while the client's membership was changing, so it may arrive or not. */
export type Sight = "always" | "never" | "maybe";

interface ReceivedStream {
  /** All events, oldest first, at the positions from `feed[0].position` on without holes. */
  feed: readonly FeedRecord[];
  /** The position after which the client began. */
  start: number;
  received: readonly ReceivedFrame[];
  sees: (event: FeedRecord) => Sight;
  /** Events up to here were deleted at some time, 0 for none: a client whose last event is among them may get a gap. */
  clearedUpTo: number;
}

export interface FeedProblem {
  kind: "missing" | "twice" | "out of order" | "not theirs" | "unknown" | "another" | "needless gap" | "gap backwards";
  position: number;
}

export function checkStream({ feed, start, received, sees, clearedUpTo }: ReceivedStream): FeedProblem[] {
  const problems: FeedProblem[] = [];
  const first = feed[0]?.position ?? 1;
  const last = first + feed.length - 1;
  const had = new Set<number>();
  let position = start;

  /** Events between two that arrived must not be for the client. */
  function passTo(next: number): void {
    for (let missed = Math.max(position + 1, first); missed < next && missed <= last; missed += 1) {
      if (sees(feed[missed - first]!) === "always") problems.push({ kind: "missing", position: missed });
    }
    position = next;
  }

  for (const { position: at, identity } of received) {
    if (identity === null) {
      if (at < position) problems.push({ kind: "gap backwards", position: at });
      if (clearedUpTo === 0 || position > clearedUpTo) problems.push({ kind: "needless gap", position: at });
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
