import { setImmediate } from "node:timers/promises";
import { type Cursor, type GapReason, Memberships, type MembersOf, readFeed, toCursor } from "../events/events.ts";
import type { Log } from "../lib/postgres.ts";
import type { Db } from "../lib/query.ts";
import { type Repeated, repeatWhenWoken } from "../lib/repeat.ts";
import { CatchUp, type CatchUpDeps, conversationsOf, gapFrame, type OnLive, sendEvent } from "./catch-up.ts";
import type { Client } from "./client.ts";
import { ClientGroups } from "./client-groups.ts";
import { type Frame, type FramedEvent, framesOf } from "./frames.ts";
import { lowWaterBytes } from "./outlet.ts";

export interface LiveFeedDeps extends CatchUpDeps {
  db: Db;
  log: Log;
}

export interface Audience {
  agents: boolean;
  participantIds: readonly string[];
}

const pageSize = 500;

/** The feed of one workspace, read once for all clients of this process. All live clients are at its head. */
export class LiveFeed {
  readonly workspaceId: string;
  readonly #deps: LiveFeedDeps;
  readonly #memberships: Memberships;
  readonly #clients = new ClientGroups();
  readonly #catchUp: CatchUp;
  #head: Cursor;
  readonly #reading: Repeated;

  constructor(workspaceId: string, head: Cursor, deps: LiveFeedDeps) {
    this.workspaceId = workspaceId;
    this.#head = head;
    this.#deps = deps;
    this.#memberships = new Memberships(deps.db);
    this.#catchUp = new CatchUp(this, this.#memberships, deps);
    this.#reading = repeatWhenWoken(deps.clock, 0, () => this.#readNew());
  }

  get head(): Cursor {
    return this.#head;
  }

  cursor(): string {
    return toCursor(this.#head);
  }

  size(): number {
    return this.#clients.size();
  }

  memberIds(): string[] {
    return this.#clients.memberIds();
  }

  membersOf(conversationIds: readonly string[]): Promise<MembersOf> {
    return this.#memberships.load(conversationIds);
  }

  join(client: Client): void {
    client.feed = this;
    client.at = this.#head;
    this.#clients.add(client);
  }

  leave(client: Client): void {
    client.state = "closed";
    this.#clients.remove(client);
  }

  regroup(client: Client): void {
    this.#clients.add(client);
  }

  /**
   * Sends the events that the client may see after a cursor, once and in order, no faster than it reads; a gap first
   * when the feed no longer has all of them. Then the client is live. Returns the number of events sent, or null when
   * the client was closed or resumed again meanwhile. Waits while the database does not respond.
   */
  catchUp(client: Client, after: Cursor, onLive?: OnLive): Promise<number | null> {
    return this.#catchUp.run(client, after, false, onLive);
  }

  goLive(client: Client, onLive?: OnLive): Promise<number | null> {
    return this.#catchUp.run(client, client.at, true, onLive);
  }

  publish({ agents, participantIds }: Audience, frame: Frame, except: (client: Client) => boolean): void {
    const send = (clients: Iterable<Client>) => {
      for (const client of clients) if (client.state === "live" && !except(client)) client.send(frame);
    };
    if (agents) send(this.#clients.agents);
    for (const participantId of participantIds) send(this.#clients.of(participantId));
  }

  /** Reads and sends new events. A read that fails is retried at the next call. */
  wake(): void {
    this.#reading.wake();
  }

  close(): Promise<void> {
    return this.#reading.close();
  }

  async #readNew(): Promise<void> {
    const { db, log } = this.#deps;
    const { workspaceId } = this;
    try {
      const page = await readFeed(db, workspaceId, this.#head, pageSize);
      if (page.kind === "gap") this.#skip(page.reason, page.cursor);
      else if (page.last > this.#head.position) {
        await this.#sendLive(await framesOf(page.events));
        this.#head = page.cursor;
        if (page.last < page.head) this.wake();
      }
    } catch (error) {
      log.warn({ err: error, workspace_id: workspaceId }, "events could not be read; the read is retried");
    }
  }

  async #sendLive(events: readonly FramedEvent[]): Promise<void> {
    for (const { event } of events) {
      if (event.frame.type === "CONVERSATION" && event.conversationId !== null)
        this.#memberships.forget(event.conversationId);
    }
    const membersOf = await this.#memberships.load(this.memberIds().length === 0 ? [] : conversationsOf(events));
    for (const [index, slice] of slicesOf(events).entries()) {
      // A client that reads has room again: what it could not have read yet does not count against it.
      if (index > 0) await setImmediate();
      this.#sendSlice(slice, membersOf);
      this.#head = slice.at(-1)!.event;
    }
  }

  /** Nothing waits in here: a client that goes live stands before all of these events, or after them. */
  #sendSlice(events: readonly FramedEvent[], membersOf: MembersOf): void {
    const { onTaken } = this.#deps;
    const clients = this.#clients;
    const send = (to: Iterable<Client>, framed: FramedEvent, as: "frame" | "memberFrame" | "partingFrame") => {
      for (const client of to) if (client.state === "live") sendEvent(client, framed, framed[as], onTaken);
    };
    if (events.length > 1) for (const { outlet } of clients.all()) outlet.cork();
    for (const framed of events) {
      send(clients.agentsThatSee(framed.event), framed, "frame");
      send(clients.membersThatSee(framed.event, membersOf), framed, "memberFrame");
      send(clients.leaversOf(framed.event, membersOf), framed, "partingFrame");
    }
    if (events.length > 1) for (const { outlet } of clients.all()) outlet.uncork();
  }

  #skip(reason: GapReason, head: Cursor): void {
    this.#memberships.forgetAll();
    const frame = gapFrame(reason, head);
    for (const client of this.#clients.all()) if (client.state === "live") client.send(frame);
    this.#head = head;
    if (reason !== "unknown") return;
    // Clients that are catching up read a feed that no longer exists. They reconnect, and their cursors are checked.
    this.#deps.cache.forget(this.workspaceId);
    for (const client of this.#clients.all()) {
      if (client.state !== "live" && client.state !== "closed") client.close("broken");
    }
  }
}

function slicesOf(events: readonly FramedEvent[]): FramedEvent[][] {
  const slices: FramedEvent[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const framed of events) {
    size += framed.frame.size;
    if (size > lowWaterBytes) {
      slices.push([]);
      size = framed.frame.size;
    }
    slices.at(-1)!.push(framed);
  }
  return slices;
}
