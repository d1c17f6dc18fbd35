import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";
import type { Log } from "../lib/postgres.ts";
import { type Repeated, repeat } from "../lib/repeat.ts";

interface OnlineUsersDeps {
  self: string;
  fanout: Fanout;
  clock: Clock;
  log: Log;
  onChange: (workspaceId: string) => void;
}

interface Announcement {
  from: string;
  /** How often its users have changed. A process that has another version asks for the list. */
  version: number;
  changed?: [userId: string, workspaceId: string, isOnline: boolean];
  /** Some of all its users. The first part begins a list; it is complete when it has `count` users. */
  part?: [userId: string, workspaceId: string][];
  isFirst?: boolean;
  count?: number;
  /** Asks a process, or every process, for its list. */
  asks?: string;
}

interface OtherProcess {
  workspaceByUser: Map<string, string>;
  parts: Map<string, string>;
  version: number;
  isAsked: boolean;
  announcedAt: number;
}

const channel = "presence";
const everyProcess = "*";
/** How often a process announces itself, and when its users count as gone without that; in milliseconds. */
const announceEveryMs = 5_000;
const deadAfterMs = 20_000;
/** Most users in one announcement: about 90 bytes each. */
const maxInPart = 70;

/** Who is online in which process. Periodic announcements repair lost ones, and find processes that die. */
export class OnlineUsers {
  readonly #deps: OnlineUsersDeps;
  readonly #own = new Map<string, string>();
  #version = 0;
  readonly #others = new Map<string, OtherProcess>();
  readonly #unsubscribe: (() => void)[];
  readonly #announcing: Repeated;

  constructor(deps: OnlineUsersDeps) {
    this.#deps = deps;
    const { fanout, clock, log } = deps;
    this.#unsubscribe = [
      fanout.subscribe(channel, (message) => this.#receive(JSON.parse(message) as Announcement)),
      fanout.onReconnect(() => this.#announce({ asks: everyProcess })),
    ];
    this.#announcing = repeat(
      clock,
      announceEveryMs,
      () => this.#announceSelf(),
      (error) => log.warn({ err: error }, "presence could not be announced"),
    );
    this.#announce({ asks: everyProcess });
  }

  set(userId: string, workspaceId: string, isOnline: boolean): void {
    apply(this.#own, [userId, workspaceId, isOnline]);
    this.#version += 1;
    this.#deps.onChange(workspaceId);
    this.#announce({ changed: [userId, workspaceId, isOnline] });
  }

  of(workspaceId: string): Set<string> {
    const users = new Set<string>();
    for (const known of [this.#own, ...[...this.#others.values()].map((other) => other.workspaceByUser)]) {
      for (const [userId, workspace] of known) if (workspace === workspaceId) users.add(userId);
    }
    return users;
  }

  async close(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    // Without grace: users who have reconnected elsewhere are online there.
    this.#announce({ part: [], isFirst: true, count: 0 });
    await this.#announcing.close();
  }

  #announce(announcement: Omit<Announcement, "from" | "version">): void {
    const { self, fanout } = this.#deps;
    fanout.publish(channel, JSON.stringify({ from: self, version: this.#version, ...announcement }));
  }

  async #announceSelf(): Promise<void> {
    this.#announce({});
    for (const [id, other] of this.#others) {
      other.isAsked = false;
      if (this.#deps.clock.elapsed() - other.announcedAt < deadAfterMs) continue;
      this.#others.delete(id);
      this.#changed(other.workspaceByUser);
    }
  }

  #announceList(): void {
    const users = [...this.#own];
    for (let start = 0; start === 0 || start < users.length; start += maxInPart) {
      const part = users.slice(start, start + maxInPart);
      this.#announce({ part, isFirst: start === 0, count: users.length });
    }
  }

  #receive({ from, version, changed, part, isFirst, count, asks }: Announcement): void {
    const { self, clock, onChange } = this.#deps;
    if (from === self) return;
    const other = this.#others.get(from) ?? newProcess();
    this.#others.set(from, other);
    other.announcedAt = clock.elapsed();
    if (changed !== undefined) {
      apply(other.workspaceByUser, changed);
      if (version === other.version + 1) other.version = version;
      onChange(changed[1]);
    }
    if (part !== undefined) {
      if (isFirst) other.parts.clear();
      for (const [userId, workspaceId] of part) other.parts.set(userId, workspaceId);
      if (other.parts.size === count) this.#replace(other, version);
    } else if (version !== other.version && !other.isAsked) {
      other.isAsked = true;
      this.#announce({ asks: from });
    }
    if (asks === self || asks === everyProcess) this.#announceList();
  }

  #replace(other: OtherProcess, version: number): void {
    const before = other.workspaceByUser;
    Object.assign(other, { workspaceByUser: other.parts, parts: new Map(), version, isAsked: false });
    this.#changed(before);
    this.#changed(other.workspaceByUser);
  }

  #changed(workspaceByUser: ReadonlyMap<string, string>): void {
    for (const workspaceId of new Set(workspaceByUser.values())) this.#deps.onChange(workspaceId);
  }
}

function newProcess(): OtherProcess {
  return { workspaceByUser: new Map(), parts: new Map(), version: 0, isAsked: false, announcedAt: 0 };
}

function apply(workspaceByUser: Map<string, string>, [userId, workspaceId, isOnline]: [string, string, boolean]): void {
  if (isOnline) workspaceByUser.set(userId, workspaceId);
  else workspaceByUser.delete(userId);
}
