import { type Authenticator, dependsOn, type Principal } from "../credentials/credentials.ts";
import { RequestError } from "../errors.ts";
import { parseCursor, requireFeedScopes } from "../events/events.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/postgres.ts";
import { type Repeated, repeat } from "../lib/repeat.ts";
import type { OnLive } from "./catch-up.ts";
import { Client } from "./client.ts";
import { type ClientLimits, openClientLimits } from "./client-limits.ts";
import type { LiveFeed } from "./live-feed.ts";
import type { LiveFeeds } from "./live-feeds.ts";
import type { CloseReason, Outlet } from "./outlet.ts";

/** A place for a caller, which `giveBack` frees when the client is gone. */
export interface Admission {
  readonly authorization: string;
  readonly principal: Principal;
  giveBack(): void;
}

interface ClientsDeps {
  feeds: LiveFeeds;
  authenticate: Authenticator["authenticate"];
  recheck: Authenticator["recheck"];
  clock: Clock;
  log: Log;
  maxClients: number;
  limits: ClientLimits;
  presence: { connected(client: Client): void; disconnected(client: Client): void };
}

/** How often credentials are verified, in milliseconds: finds lost notifications, and keeps credentials cached. */
const recheckEveryMs = 10_000;
/** Credentials verified in one statement; the rest follows in later turns of the event loop. */
const recheckSlice = 5_000;

/** The clients of this process, as long as their credentials are valid. */
export class Clients {
  readonly #deps: ClientsDeps;
  readonly #clients = new Map<Client, { feed: LiveFeed; admission: Pick<Admission, "giveBack"> }>();
  readonly #limits;
  readonly #rechecking: Repeated;
  /** Places taken, by clients and by callers that are about to become clients. */
  #taken = 0;
  #changes = 0;
  #isClosed = false;

  constructor(deps: ClientsDeps) {
    this.#deps = deps;
    this.#limits = openClientLimits(deps.limits);
    this.#rechecking = repeat(
      deps.clock,
      recheckEveryMs,
      () => this.recheckAll(),
      () => {},
    );
  }

  count(): number {
    return this.#clients.size;
  }

  /**
   * Throws AUTH_… and OVERLOADED as for any request, FORBIDDEN without the scopes, RATE_LIMIT_EXCEEDED. A place for what is
   * no client of the feed has other scopes.
   */
  async admit(
    authorization: string | undefined,
    address: string,
    requireScopes: (principal: Principal) => void = requireFeedScopes,
  ): Promise<Admission> {
    if (this.#isClosed) {
      throw new RequestError("OVERLOADED", "The hub is stopping. Connect again.", { retryAfterSeconds: 1 });
    }
    const principal = await this.#deps.authenticate(authorization);
    requireScopes(principal);
    if (this.#taken >= this.#deps.maxClients) {
      const message = "This process serves as many sockets and event streams as it can. Connect again later.";
      throw new RequestError("OVERLOADED", message, { retryAfterSeconds: 10 });
    }
    const release = this.#limits.take(principal, address);
    this.#taken += 1;
    const giveBack = () => {
      this.#taken -= 1;
      release();
    };
    return { authorization: authorization!, principal, giveBack };
  }

  /** Adds a client, held until `release`. `open` makes its outlet when nothing else can fail; null as from `open`. */
  async add(admission: Admission, open: () => Outlet | null): Promise<Client | null> {
    const { authorization, principal } = admission;
    const { feeds, presence } = this.#deps;
    const changesBefore = this.#changes;
    let client: Client | null = null;
    try {
      const feed = await feeds.open(principal.workspaceId);
      const outlet = this.#isClosed ? null : open();
      if (outlet === null) {
        feeds.closeLater(feed);
        return null;
      }
      client = new Client({ outlet, authorization, principal });
      feed.join(client);
      this.#clients.set(client, { feed, admission });
      presence.connected(client);
      // The credential may have been revoked before the client could be found among the others.
      if (this.#changes !== changesBefore) void this.#recheckAllOf([client]);
      return client;
    } finally {
      if (client === null) admission.giveBack();
    }
  }

  remove(client: Client): void {
    const found = this.#clients.get(client);
    if (found === undefined) return;
    this.#clients.delete(client);
    found.feed.leave(client);
    this.#deps.feeds.closeLater(found.feed);
    this.#deps.presence.disconnected(client);
    found.admission.giveBack();
  }

  disconnect(client: Client, reason: CloseReason): void {
    this.remove(client);
    client.close(reason);
  }

  /** Makes a held client live where it stands, or resumes it from a cursor. As `LiveFeed.catchUp`. */
  async release(client: Client, cursor?: string, onLive?: OnLive): Promise<number | null> {
    const feed = this.#clients.get(client)?.feed;
    if (feed === undefined) return null;
    return cursor === undefined ? feed.goLive(client, onLive) : feed.catchUp(client, parseCursor(cursor), onLive);
  }

  /** Verifies the credentials of all clients that depend on this session, user or API key. */
  changed(id: string): Promise<void> {
    this.#changes += 1;
    return this.#recheckAllOf([...this.#clients.keys()].filter(({ principal }) => dependsOn(principal, id)));
  }

  recheckAll(): Promise<void> {
    return this.#recheckAllOf([...this.#clients.keys()]);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const client of [...this.#clients.keys()]) this.disconnect(client, "stopping");
    await this.#rechecking.close();
  }

  async #recheckAllOf(clients: readonly Client[]): Promise<void> {
    try {
      for (let start = 0; start < clients.length; start += recheckSlice) {
        await Promise.all(clients.slice(start, start + recheckSlice).map((client) => this.#recheck(client)));
      }
    } catch (error) {
      this.#deps.log.warn({ err: error }, "credentials of sockets could not be verified; the check is repeated");
    }
  }

  async #recheck(client: Client): Promise<void> {
    const changesBefore = this.#changes;
    try {
      const principal = await this.#deps.recheck(client.authorization);
      const feed = this.#clients.get(client)?.feed;
      if (feed === undefined) return;
      // The response may be from before a change that came meanwhile.
      if (this.#changes !== changesBefore) return await this.#recheck(client);
      requireFeedScopes(principal);
      const { principal: before } = client;
      client.principal = principal;
      if (principal.role !== before.role || principal.participantId !== before.participantId) feed.regroup(client);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      if (error.code === "FORBIDDEN") this.disconnect(client, "forbidden");
      else if (error.code.startsWith("AUTH_") || error.code === "API_KEY_INVALID")
        this.disconnect(client, "credential");
    }
  }
}
