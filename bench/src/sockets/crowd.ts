import { moved } from "../movement.ts";
import { sharedNow } from "../now.ts";
import { seeFrame } from "./frame-reader.ts";
import { openSocketClient, type SocketClient } from "./socket-client.ts";

export interface CrowdOptions {
  url: string;
  authorizations: readonly string[];
  atOnce: number;
}

/** What went wrong so far: events that a client did not get, got twice, or got a gap for, and sockets that ended. */
export interface CrowdFaults {
  holes: number;
  doubles: number;
  gaps: number;
  ended: number;
  why: string | null;
}

interface Member {
  authorization: string;
  client: SocketClient | null;
  cursor: number;
  /** Since it was opened or cut. */
  isReady: boolean;
}

const sourceAddresses =
  process.platform === "linux" ? ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"] : ["127.0.0.1"];
const feedTypes = new Set(["NEW_MESSAGE", "MESSAGE_STATUS", "CONVERSATION", "WEBHOOK_ENDPOINT"]);

/** Thousands of clients of one workspace, each of which sees all its events: it knows when it lacks one. */
export function openCrowd({ url, authorizations, atOnce }: CrowdOptions) {
  const { hostname: host, port } = new URL(url);
  const members: Member[] = authorizations.map((authorization) => {
    return { authorization, client: null, cursor: 0, isReady: false };
  });
  const faults: CrowdFaults = { holes: 0, doubles: 0, gaps: 0, ended: 0, why: null };
  const lost = Promise.withResolvers<never>();
  lost.promise.catch(() => {});
  let ready = 0;
  let onReady = (_member: Member) => {};
  let goal = { cursor: Number.POSITIVE_INFINITY, missing: members.length, firstAt: 0, reached: (_at: number) => {} };

  function connectMember(member: Member, index: number, cursor: number | null): void {
    const options = { host, port: Number(port), localAddress: sourceAddresses[index % sourceAddresses.length]! };
    const { authorization } = member;
    member.client = openSocketClient({
      ...options,
      authorization,
      cursor,
      onText: (payload) => take(member, payload),
      onEnded(why) {
        faults.ended += 1;
        faults.why ??= why;
        lost.reject(new Error(`A socket ended: ${why}; ${describe()}`));
      },
    });
  }

  function take(member: Member, payload: Buffer): void {
    const { type, cursor } = seeFrame(payload);
    if (feedTypes.has(type)) takeEvent(member, cursor);
    else if (type === "GAP") faults.gaps += 1;
    else if (type === "HELLO" && member.cursor === 0) {
      member.cursor = cursor;
      becomeReady(member);
    } else if (type === "RESUMED") becomeReady(member);
  }

  function takeEvent(member: Member, cursor: number): void {
    if (cursor > member.cursor + 1) faults.holes += 1;
    if (cursor <= member.cursor) faults.doubles += 1;
    const before = member.cursor;
    member.cursor = cursor;
    if (before >= goal.cursor || cursor < goal.cursor) return;
    // Rarely, since this is timed.
    if (goal.missing % 256 === 0) moved(describe());
    goal.missing -= 1;
    if (goal.firstAt === 0) goal.firstAt = sharedNow();
    if (goal.missing === 0) goal.reached(sharedNow());
  }

  function becomeReady(member: Member): void {
    if (member.isReady) return;
    member.isReady = true;
    ready += 1;
    moved(describe());
    onReady(member);
  }

  /** All of them, `atOnce` at a time; resolves when the last is ready. */
  function bringAll(cursorOf: (member: Member) => number | null): Promise<void> {
    let next = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    const bringNext = () => {
      const index = next++;
      if (index < members.length) connectMember(members[index]!, index, cursorOf(members[index]!));
    };
    onReady = () => (ready === members.length ? resolve() : bringNext());
    for (let count = 0; count < atOnce; count += 1) bringNext();
    return Promise.race([promise, lost.promise]);
  }

  const describe = () =>
    `${ready} of ${members.length} sockets are ready, ${goal.missing} lack the event at ${goal.cursor}`;

  return {
    faults: (): CrowdFaults => faults,
    async open(): Promise<void> {
      await bringAll(() => null);
    },
    cut(): number {
      const startedAt = sharedNow();
      for (const member of members) {
        member.client?.cut();
        member.isReady = false;
      }
      ready = 0;
      return startedAt;
    },
    async reconnect(): Promise<void> {
      await bringAll(({ cursor }) => cursor);
    },
    async reach(cursor: number): Promise<{ firstAt: number; lastAt: number }> {
      const { promise, resolve } = Promise.withResolvers<number>();
      const missing = members.filter((member) => member.cursor < cursor).length;
      goal = { cursor, missing, firstAt: 0, reached: resolve };
      if (missing === 0) resolve(sharedNow());
      const lastAt = await Promise.race([promise, lost.promise]);
      return { firstAt: goal.firstAt || lastAt, lastAt };
    },
    close(): void {
      for (const { client } of members) client?.cut();
    },
  };
}

export type Crowd = ReturnType<typeof openCrowd>;
