import type { BusRecord, Subscription } from "../../bus/bus.ts";
import { openBatcher } from "../../lib/batcher.ts";
import { isRecordFault } from "../../lib/faults.ts";
import type { ChannelAccountId } from "../../lib/ids.ts";
import type { Place } from "../../lib/progress-watch.ts";
import { topics } from "../../topics.ts";
import { type OutgoingRecord, wakeLanes } from "../outgoing.ts";
import { type AccountGate, type GateState, openAccountGate, untilOneEnds } from "./account-gate.ts";
import { type AttemptDeps, type AttemptResult, openAttempts, unbounded } from "./attempts.ts";
import { type Hold, openHold } from "./hold.ts";
import { enqueue, forgetQueue, isGone, type Lane, maxQueued, newLane, startLoading, type Waiting } from "./lanes.ts";
import { openMoves } from "./moves.ts";
import { loadPending, type PendingHead, pendingLanes, recoverAttempts } from "./pending.ts";
import type { StartedDelivery } from "./start-attempts.ts";

interface DelivererDeps extends AttemptDeps {
  concurrency: number;
  /** No other process works on this database: open attempts found in it have ended. */
  isOnlyProcess: boolean;
}

/** An idle lane, and a place at its account's gate, for a delivery that starts with its commit. */
export interface Reservation {
  /** The consumer that the commit finds to own the lane. */
  starter: string;
  /** Sends: the attempt was recorded. */
  start(started: StartedDelivery): void;
  /** `isKnown` is false when the commit may have started the attempt. */
  release(isKnown: boolean): void;
}

export interface Deliverer {
  /** Null when something waits before the delivery, or it cannot be sent now: it must be published. */
  reserve(laneId: string, channelAccountId: ChannelAccountId): Reservation | null;
  /** Null before this process has used the account. */
  health(channelAccountId: ChannelAccountId): (GateState & { parkedLanes: number }) | null;
  places(): Place[];
  /** Starts no further attempt, waits for those under way, and gives the partitions back. */
  close(): Promise<void>;
}

export const consumerGroup = "deliver";
const loadBatchSize = 256;
const troubleMs = 1_000;

interface AccountState {
  gate: AccountGate;
  /** Lanes whose head may be sent, in the order in which they became ready. */
  ready: Lane[];
  cancelTimer: (() => void) | null;
  /** The gate is shut until then, by `Clock.elapsed`. */
  shutUntil: number;
  /** While the account is not active, its lanes stay `ready` and nothing is sent. */
  hold: Hold;
}

/** Sends the deliveries of one channel: in order within a lane, lanes side by side. */
export function openDeliverer(deps: DelivererDeps): Deliverer {
  const { db, bus, log, troubles, connector, io, policy } = deps;
  const { clock } = io;
  const { channel } = connector;
  const topic = topics.outgoing(channel);
  const part = `deliver ${channel}`;
  const lanes = new Map<string, Lane>();
  const accounts = new Map<ChannelAccountId, AccountState>();
  const moves = openMoves();
  let underWay = 0;
  let isClosing = false;
  let whenQuiet = () => {};

  const fence = () => ({ topic, group: consumerGroup, ownerId: subscription.ownerId });
  const attempts = openAttempts({ ...deps, connector: moves.counting(connector), fence, isClosing: () => isClosing });
  const loader = openBatcher<Lane, PendingHead[]>({ ...unbounded(clock), maxBatch: loadBatchSize, run: load });

  const subscription: Subscription = bus.subscribe<OutgoingRecord>(topic, consumerGroup, {
    maxBatch: 1_000,
    handle: async (records) => records.forEach(take),
    onAssigned: takeOver,
    onRevoked: letGo,
  });

  function take({ key, partition, value }: BusRecord<OutgoingRecord>): void {
    let lane = lanes.get(key);
    if (lane === undefined) {
      lane = newLane(key, value.accountId, partition);
      lanes.set(key, lane);
    }
    if (value.isChanged && lane.queue[0]?.deliveryId === value.deliveryId) {
      if (lane.state === "parked") recheck(lane);
      return;
    }
    enqueue(lane, value);
    advance(lane);
  }

  async function takeOver(partitions: readonly number[]): Promise<void> {
    // An outcome that this process knows is not unknown, even after a long failure of the database.
    await attempts.written();
    // These may include attempts of this process, which lost its partitions and got them back.
    const areOver = deps.isOnlyProcess && underWay === 0;
    const requestMs = areOver ? 0 : io.timeoutMs + troubleMs;
    const graceMs = connector.capabilities.afterUnknown === "receipt" ? policy.unknownGraceMs : 0;
    const lost = await recoverAttempts(db, channel, partitions, new Date(clock.now()), { requestMs, graceMs });
    if (lost > 0) log.warn({ channel, attempts: lost }, "attempts of a process that ended were recorded as unknown");
    const pending = await pendingLanes(db, channel, partitions);
    const owned = new Set(subscription.owned());
    for (const row of pending) {
      if (lanes.has(row.lane_id) || !owned.has(row.partition)) continue;
      const lane = newLane(row.lane_id, row.channel_account_id, row.partition);
      lane.isComplete = false;
      lanes.set(lane.laneId, lane);
      advance(lane);
    }
  }

  function letGo(partitions: readonly number[]): void {
    for (const lane of lanes.values()) {
      if (partitions.includes(lane.partition)) drop(lane);
    }
  }

  function drop(lane: Lane): void {
    lane.cancelTimer();
    lane.state = "gone";
    lanes.delete(lane.laneId);
  }

  function advance(lane: Lane): void {
    if (lane.state !== "idle" || isClosing) return;
    if (lane.queue.length > 0) {
      lane.state = "ready";
      const account = accountOf(lane.channelAccountId);
      account.ready.push(lane);
      pump(account);
    } else if (!lane.isComplete) {
      void refill(lane);
    } else {
      drop(lane);
    }
  }

  async function refill(lane: Lane): Promise<void> {
    startLoading(lane);
    const heads = await loader.submit([lane]).then(
      ([first]) => first!,
      (error) => {
        troubles.failed(part, error);
        return null;
      },
    );
    if (isGone(lane)) return;
    lane.isComplete = heads !== null && heads.length < maxQueued && lane.isComplete;
    if (heads === null) return park(lane, troubleMs);
    troubles.worked(part);
    for (const head of heads) {
      lane.queue.push(head);
      lane.lastOrdinal = head.ordinal;
    }
    const waitMs = heads[0]?.waitMs ?? 0;
    if (waitMs > 0) return park(lane, waitMs);
    lane.state = "idle";
    advance(lane);
  }

  async function load(wanted: Lane[]): Promise<PendingHead[][]> {
    const heads = Map.groupBy(await loadPending(db, channel, wanted), (head) => head.laneId);
    return wanted.map((lane) => heads.get(lane.laneId) ?? []);
  }

  function park(lane: Lane, waitMs: number): void {
    lane.state = "parked";
    lane.cancelTimer = clock.after(waitMs, () => unpark(lane));
  }

  function unpark(lane: Lane): void {
    if (lane.state !== "parked") return;
    lane.cancelTimer();
    lane.state = "idle";
    advance(lane);
  }

  /** Its head may be settled or wait longer: the database knows. */
  function recheck(lane: Lane): void {
    forgetQueue(lane, lane.queue[0]!.ordinal);
    unpark(lane);
  }

  function accountOf(channelAccountId: ChannelAccountId): AccountState {
    let account = accounts.get(channelAccountId);
    if (account === undefined) {
      const gate = openAccountGate(connector.capabilities.ratePerSecond, deps.concurrency, clock.elapsed());
      const made: AccountState = {
        gate,
        ready: [],
        cancelTimer: null,
        shutUntil: 0,
        hold: openHold({
          clock,
          isOver: async () => {
            made.ready = made.ready.filter((lane) => !isGone(lane));
            const found = made.ready.length === 0 ? null : await deps.accounts.get(channelAccountId);
            return found === null || found.status === "active";
          },
          release: () => pump(made),
        }),
      };
      account = made;
      accounts.set(channelAccountId, account);
    }
    return account;
  }

  function pump(account: AccountState): void {
    while (account.ready.length > 0 && !isClosing && !account.hold.isHeld()) {
      if (isGone(account.ready[0]!)) {
        account.ready.shift();
        continue;
      }
      const waitMs = account.gate.admit(clock.elapsed());
      if (waitMs > 0) {
        account.cancelTimer?.();
        account.cancelTimer = clock.after(waitMs, () => pump(account));
        if (waitMs !== untilOneEnds) account.shutUntil = clock.elapsed() + waitMs;
        return;
      }
      const lane = account.ready.shift()!;
      begin(lane);
      void finish(
        lane,
        account,
        attempt(lane, account, (id) => attempts.make(id, lane.channelAccountId, account.gate)),
      );
    }
  }

  function begin(lane: Lane): void {
    lane.state = "busy";
    moves.moved(lane.channelAccountId);
    underWay += 1;
  }

  /** `rest` is the pause of the lane, in milliseconds. */
  async function finish(lane: Lane, account: AccountState, rest: Promise<number>): Promise<void> {
    const restMs = await rest.catch((error) => {
      if (isRecordFault(error))
        log.error({ err: error, channel }, "an attempt failed in the hub; its lane pauses and continues");
      troubles.failed(part, error);
      return troubleMs;
    });
    underWay -= 1;
    moves.moved(lane.channelAccountId);
    if (underWay === 0) whenQuiet();
    if (!isGone(lane)) {
      if (restMs > 0) park(lane, restMs);
      else {
        lane.state = "idle";
        advance(lane);
      }
    }
    pump(account);
  }

  /** Of the head of its queue. Returns the pause of the lane, in milliseconds. */
  async function attempt(
    lane: Lane,
    account: AccountState,
    make: (deliveryId: string) => Promise<AttemptResult>,
  ): Promise<number> {
    const head = lane.queue[0]!;
    const result = await make(head.deliveryId);
    troubles.worked(part);
    if (isGone(lane)) await notifyNewOwner(lane, head);
    switch (result.kind) {
      case "over":
        lane.queue.shift();
        return 0;
      case "fenced":
        return troubleMs;
      case "held":
        account.hold.begin();
        return 0;
      case "again":
        return Math.max(1, result.waitMs);
      default:
        return result satisfies never;
    }
  }

  function reserve(laneId: string, channelAccountId: ChannelAccountId): Reservation | null {
    const partition = bus.partitionOf(laneId);
    if (isClosing || lanes.has(laneId) || !subscription.isReady(partition)) return null;
    const known = deps.accounts.peek(channelAccountId);
    if (known?.status !== "active") return null;
    const account = accountOf(channelAccountId);
    if (account.hold.isHeld() || account.ready.length > 0 || account.gate.admit(clock.elapsed()) > 0) return null;
    const lane = newLane(laneId, channelAccountId, partition);
    lanes.set(laneId, lane);
    begin(lane);
    return {
      starter: subscription.ownerId,
      start(started) {
        // Nothing waits before it.
        lane.queue.unshift({ deliveryId: started.deliveryId, ordinal: 0 });
        void finish(
          lane,
          account,
          attempt(lane, account, () => attempts.finishStarted(started, known, account.gate)),
        );
      },
      release(isKnown) {
        account.gate.abandoned();
        if (!isKnown) forgetQueue(lane, 0);
        void finish(lane, account, Promise.resolve(isKnown ? 0 : troubleMs));
      },
    };
  }

  /** Another process took the lane during the attempt: it need not wait for an outcome that is known. */
  async function notifyNewOwner(lane: Lane, { deliveryId, ordinal }: Waiting): Promise<void> {
    const place = { delivery_id: deliveryId, lane_id: lane.laneId, channel_account_id: lane.channelAccountId };
    await wakeLanes(bus, db, [{ ...place, channel, ordinal }]);
  }

  return {
    reserve,
    health(channelAccountId) {
      const account = accounts.get(channelAccountId);
      if (account === undefined) return null;
      const own = [...lanes.values()].filter((lane) => lane.channelAccountId === channelAccountId);
      const waits = (lane: Lane) => lane.state === "parked" || (account.hold.isHeld() && lane.state === "ready");
      const parkedLanes = own.filter(waits).length;
      return { ...account.gate.describe(clock.elapsed()), parkedLanes };
    },
    places: () =>
      moves.places(lanes.values(), (id) => accountOf(id).hold.isHeld() || accountOf(id).shutUntil > clock.elapsed()),
    async close() {
      isClosing = true;
      for (const { cancelTimer, hold } of accounts.values()) {
        cancelTimer?.();
        hold.close();
      }
      for (const lane of lanes.values()) lane.cancelTimer();
      if (underWay > 0) await new Promise<void>((resolve) => (whenQuiet = resolve));
      await subscription.close();
    },
  };
}
