import { setTimeout as delay } from "node:timers/promises";
import type { Chance } from "./chance.ts";
import { identityOf } from "./feed-archive.ts";
import type { ReceivedFrame } from "./feed-checker.ts";
import { type Frame, positionOf } from "./listener.ts";
import { connectPoller, connectSocket, connectStream } from "./roaming.ts";

/** How a client resumes: by `?cursor=`, by a frame, by `last-event-id`, or by reading page after page. */
export type RoamerKind = "address" | "frame" | "stream" | "poller";

/**
 * How a connection ends: in the middle of a burst, at some moment, with a closing handshake, after not reading for a
 * while, by being forgotten while the hub counts it as open, at the first of the missed events, or before the hub
 * has said anything.
 */
export const endings = ["burst", "moment", "polite", "stall", "forgotten", "catching-up", "before-hello"] as const;
type Ending = (typeof endings)[number];

/** One connection of a client. It keeps no events. */
export interface Connection {
  /** The connection is open, as far as the client knows; false when it ended before. */
  opened: Promise<boolean>;
  ended: Promise<void>;
  /** After any of these no event is passed on. */
  cut(): void;
  close(): void;
  stall(): void;
}

export interface Connecting {
  url: string;
  token: string;
  /** The client's last cursor; null before the first. */
  cursor: string | null;
  /** Frames of any type; and a cursor without an event, as in an SSE `id`. */
  onFrame: (frame: Frame) => void;
  onCursor: (cursor: string) => void;
}

const connect: Record<RoamerKind, (connecting: Connecting) => Connection> = {
  address: (connecting) => connectSocket(connecting, "address"),
  frame: (connecting) => connectSocket(connecting, "frame"),
  stream: connectStream,
  poller: connectPoller,
};

/** Frames that are not in the feed, and responses. */
const notOfTheFeed: ReadonlySet<string> = new Set(["PRESENCE", "TYPING", "RESUMING", "RESUMED", "LIVE"]);
const forgottenMs = 700;
/** So many connections may give a client no event; it stays on the next one for one, up to so many milliseconds. */
const mostInVain = 3;
const mostPatientMs = 60_000;

export type Roamer = ReturnType<typeof openRoamer>;

/** A client that loses its connection many times, resumes from its last cursor, and keeps the events that it got. */
export function openRoamer(options: {
  url: () => string;
  token: string;
  kind: RoamerKind;
  chance: Chance;
  /** Before each connection, with the position of the client. */
  away: (chance: Chance, position: number) => Promise<unknown>;
}) {
  const { url, token, kind, chance, away } = options;
  const received: ReceivedFrame[] = [];
  const counts = new Map<Ending, number>();
  const forgotten = new Set<Connection>();
  let cursor: string | null = null;
  let start: number | null = null;
  let current: Connection | null = null;
  /** Connections in a row without an event. */
  let inVain = 0;
  let connections = 0;

  function stand(at: string): void {
    cursor = at;
    start ??= positionOf(at);
  }

  /** `onEvent` is called after each event was kept. */
  function open(onEvent: () => void): Connection {
    let isOver = false;
    connections += 1;
    const connection = connect[kind]({
      url: url(),
      token,
      cursor,
      onCursor: (at) => {
        if (!isOver) stand(at);
      },
      onFrame: (frame) => {
        if (isOver || notOfTheFeed.has(frame.type)) return;
        if (frame.type === "ERROR") throw new Error(`A client got an error: ${JSON.stringify(frame)}`);
        if (frame.type === "HELLO") {
          if (cursor === null) stand(frame.cursor);
          return;
        }
        cursor = frame.cursor;
        received.push({ position: positionOf(frame.cursor), identity: identityOf(frame) });
        onEvent();
      },
    });
    const over = (end: () => void) => () => {
      isOver = true;
      end();
    };
    return { ...connection, cut: over(connection.cut), close: over(connection.close), stall: over(connection.stall) };
  }

  async function roamOnce(ending: Ending): Promise<void> {
    await away(chance, cursor === null ? 0 : positionOf(cursor));
    const before = cursor;
    const enough = Promise.withResolvers<void>();
    // On a slow machine every connection would end before the first event.
    const isPatient = inVain >= mostInVain;
    let left = ending === "burst" ? 1 + chance.below(12) : ending === "catching-up" ? 1 : Number.POSITIVE_INFINITY;
    const connection = open(() => {
      left -= 1;
      if (left <= 0) connection.cut();
      if (left <= 0 || isPatient) enough.resolve();
    });
    const momentMs = ending === "before-hello" ? chance.below(4) : isPatient ? mostPatientMs : chance.below(200);
    const moment = delay(momentMs, undefined, { ref: false });
    let isEnded = false;
    void connection.ended.then(() => {
      isEnded = true;
    });
    if (ending !== "before-hello") await connection.opened;
    await Promise.race([moment, enough.promise, connection.ended]);
    inVain = cursor === before ? inVain + 1 : 0;
    if (!isEnded) counts.set(ending, (counts.get(ending) ?? 0) + 1);
    if (ending === "polite") connection.close();
    else if (ending === "stall" || ending === "forgotten") connection.stall();
    if (ending === "stall") await delay(chance.below(150));
    if (ending === "forgotten") return forget(connection);
    if (ending !== "polite") connection.cut();
    await connection.ended;
  }

  function forget(connection: Connection): void {
    forgotten.add(connection);
    const timer = setTimeout(connection.cut, forgottenMs);
    void connection.ended.then(() => {
      clearTimeout(timer);
      forgotten.delete(connection);
    });
  }

  return {
    kind,
    received,
    /** Where it began; null before the first event. */
    start: () => start,
    position: () => (cursor === null ? 0 : positionOf(cursor)),
    connections: () => connections,
    gaps: () => received.filter(({ identity }) => identity === null).length,
    /** Connections that the client ended, by how. */
    counts,
    async roam(mayGoOn: () => boolean): Promise<void> {
      while (mayGoOn()) await roamOnce(chance.of(endings));
    },
    /** Connects, stays, and reconnects when the hub ends it. */
    async stay(signal: AbortSignal): Promise<void> {
      while (!signal.aborted) {
        const connection = open(() => {});
        current = connection;
        signal.addEventListener("abort", connection.cut, { once: true });
        await connection.ended;
        if (!signal.aborted) await delay(20);
      }
    },
    async [Symbol.asyncDispose]() {
      current?.cut();
      for (const connection of forgotten) connection.cut();
      await Promise.all([...forgotten, ...(current ? [current] : [])].map(({ ended }) => ended));
    },
  };
}
