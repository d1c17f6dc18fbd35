import type { BusRecord, Subscription } from "../../bus/bus.ts";
import type { ChannelAccount, Connector, ConnectorIo, OutboundPart } from "../../connectors/connector.ts";
import { leastBytesPerMs } from "../../connectors/multipart.ts";
import { openBatcher } from "../../lib/batcher.ts";
import { isRecordFault } from "../../lib/faults.ts";
import type { ChannelAccountId } from "../../lib/ids.ts";
import type { Place } from "../../lib/progress-watch.ts";
import { topics } from "../../topics.ts";
import { type OutgoingRecord, wakeLanes } from "../outgoing.ts";
import { type AccountGate, openAccountGate, untilOneEnds } from "./account-gate.ts";
import { type AttemptDeps, type AttemptResult, openAttempts, unbounded } from "./attempts.ts";
import { Lane } from "./lanes.ts";
import {
  loadPending,
  type PendingHead,
  pendingLanes,
  type RecoveryWait,
  recoverAttempt,
  recoverAttempts,
} from "./pending.ts";
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

export type Deliverer = ReturnType<typeof openDeliverer>;

export const consumerGroup = "deliver";
const loadBatchSize = 256;
const troubleMs = 1_000;
/** The time from check to check whether a held account can send again. */
const holdCheckMs = 500;

interface AccountState {
  gate: AccountGate;
  /** Lanes whose head may be sent, in the order in which they became ready. */
  ready: Lane[];
  /** For the next look at `ready`. */
  cancelTimer: () => void;
  /** The gate is shut until then, by `Clock.elapsed`. */
  shutUntil: number;
  /** While the account is not active, its lanes stay `ready` and nothing is sent. */
  isHeld: boolean;
  /** Counts the steps of its attempts, as progress. */
  moves: number;
}

/** Sends the deliveries of one channel: in order within a lane, lanes side by side. */
export function openDeliverer(deps: DelivererDeps) {
  const { db, bus, log, troubles, connector, io, policy } = deps;
  const { clock } = io;
  const { channel } = connector;
  const topic = topics.outgoing(channel);
  const part = `deliver ${channel}`;
  const lanes = new Map<string, Lane>();
  const accounts = new Map<ChannelAccountId, AccountState>();
  let underWay = 0;
  let isClosing = false;
  let whenQuiet = () => {};
  const graceMs = connector.capabilities.afterUnknown === "receipt" ? policy.unknownGraceMs : 0;
  /** For attempts that ended with their process, and for those that may still be under way. */
  const overWait: RecoveryWait = { ms: graceMs, bytesPerMs: Number.POSITIVE_INFINITY };
  const underWayWait: RecoveryWait = { ms: io.timeoutMs + troubleMs + graceMs, bytesPerMs: leastBytesPerMs };

  const fence = () => ({ topic, group: consumerGroup, ownerId: subscription.ownerId });
  const attempts = openAttempts({
    ...deps,
    connector: { ...connector, send: sendPart },
    fence,
    isClosing: () => isClosing,
  });
  const loader = openBatcher<Lane, PendingHead[]>({
    ...unbounded(clock),
    maxBatch: loadBatchSize,
    run: (some) => loadPending(db, channel, some),
  });

  const subscription: Subscription = bus.subscribe<OutgoingRecord>(topic, consumerGroup, {
    maxBatch: 1_000,
    handle: async (records) => records.forEach(take),
    onAssigned: takeOver,
    onRevoked: letGo,
  });

  function take({ key, partition, value }: BusRecord<OutgoingRecord>): void {
    const lane = lanes.get(key) ?? addLane(key, value.accountId, partition);
    if (value.isChanged && lane.queue[0]?.deliveryId === value.deliveryId) {
      if (lane.state !== "parked") return;
      // Its head may be settled or wait longer: the database knows.
      lane.forgetQueue(lane.queue[0].ordinal);
      proceed(lane, 0);
    } else {
      lane.enqueue(value);
      advance(lane);
    }
  }

  function addLane(laneId: string, channelAccountId: ChannelAccountId, partition: number): Lane {
    const lane = new Lane(laneId, channelAccountId, partition);
    lanes.set(laneId, lane);
    return lane;
  }

  async function takeOver(partitions: readonly number[]): Promise<void> {
    // An outcome that this process knows is not unknown, even after a long failure of the database.
    await attempts.written();
    // These may include attempts of this process, which lost its partitions and got them back.
    const areOver = deps.isOnlyProcess && underWay === 0;
    const wait = areOver ? overWait : underWayWait;
    const lost = await recoverAttempts(db, channel, partitions, new Date(clock.now()), wait);
    if (lost > 0) log.warn({ channel, attempts: lost }, "attempts of a process that ended were recorded as unknown");
    const pending = await pendingLanes(db, channel, partitions);
    const owned = new Set(subscription.owned());
    for (const { laneId, channelAccountId, partition } of pending) {
      if (lanes.has(laneId) || !owned.has(partition)) continue;
      const lane = addLane(laneId, channelAccountId, partition);
      lane.isComplete = false;
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
    lane.startLoading();
    const heads = await loader.submitOne(lane).catch((error) => troubles.failed(part, error));
    if (lane.isGone) return;
    if (!heads) {
      lane.isComplete = false;
      return proceed(lane, troubleMs);
    }
    troubles.worked(part);
    lane.loaded(heads);
    proceed(lane, heads[0]?.waitMs ?? 0);
  }

  /** The lane continues after the pause. */
  function proceed(lane: Lane, pauseMs: number): void {
    lane.cancelTimer();
    if (pauseMs > 0) {
      lane.state = "parked";
      lane.cancelTimer = clock.after(pauseMs, () => proceed(lane, 0));
    } else {
      lane.state = "idle";
      advance(lane);
    }
  }

  function accountOf(channelAccountId: ChannelAccountId): AccountState {
    let account = accounts.get(channelAccountId);
    if (account === undefined) {
      const gate = openAccountGate(connector.capabilities.ratePerSecond, deps.concurrency, clock.elapsed());
      account = { gate, ready: [], cancelTimer: () => {}, shutUntil: 0, isHeld: false, moves: 0 };
      accounts.set(channelAccountId, account);
    }
    return account;
  }

  function pump(account: AccountState): void {
    while (account.ready.length > 0 && !isClosing && !account.isHeld) {
      if (account.ready[0]!.isGone) {
        account.ready.shift();
        continue;
      }
      const waitMs = account.gate.admit(clock.elapsed());
      if (waitMs > 0) {
        account.cancelTimer();
        account.cancelTimer = clock.after(waitMs, () => pump(account));
        if (waitMs !== untilOneEnds) account.shutUntil = clock.elapsed() + waitMs;
        return;
      }
      const lane = account.ready.shift()!;
      begin(lane, account);
      void finish(lane, account, attempts.make(lane.queue[0]!.deliveryId, lane.channelAccountId, account.gate));
    }
  }

  /** Until the account is active, deleted, or no lane waits for it. While that cannot be read, it stays held. */
  function hold(account: AccountState, channelAccountId: ChannelAccountId): void {
    account.isHeld = true;
    account.cancelTimer();
    account.cancelTimer = clock.after(holdCheckMs, async () => {
      account.ready = account.ready.filter((lane) => !lane.isGone);
      const isNeeded = account.ready.length > 0;
      const found = isNeeded ? await deps.accounts.get(channelAccountId).catch(() => undefined) : null;
      if (isClosing) return;
      if (found !== null && found?.status !== "active") return hold(account, channelAccountId);
      account.isHeld = false;
      pump(account);
    });
  }

  /** A part of a text that starts and ends is progress, too, and so are the bytes of a file. */
  async function sendPart(part: OutboundPart, to: ChannelAccount, io: ConnectorIo): ReturnType<Connector["send"]> {
    const account = accountOf(to.channelAccountId);
    const moved = () => {
      account.moves += 1;
    };
    const { file } = part;
    const watched = file && { ...file, open: async () => (await file.open()).on("data", moved).pause() };
    moved();
    try {
      return await connector.send({ ...part, ...(watched && { file: watched }) }, to, io);
    } finally {
      moved();
    }
  }

  function begin(lane: Lane, account: AccountState): void {
    lane.state = "busy";
    account.moves += 1;
    underWay += 1;
  }

  async function finish(lane: Lane, account: AccountState, attempt: Promise<AttemptResult>): Promise<void> {
    const restMs = await conclude(lane, account, attempt).catch((error) => {
      if (isRecordFault(error))
        log.error({ err: error, channel }, "an attempt failed in the hub; its lane pauses and continues");
      troubles.failed(part, error);
      return troubleMs;
    });
    end(lane, account, restMs);
  }

  /** Of the head of the lane's queue. Returns the pause of the lane, in milliseconds. */
  async function conclude(lane: Lane, account: AccountState, attempt: Promise<AttemptResult>): Promise<number> {
    const { laneId, channelAccountId, queue } = lane;
    const { deliveryId, ordinal } = queue[0]!;
    const isOwn = lane.mayBeOpen;
    lane.mayBeOpen = true;
    const result = await attempt;
    lane.mayBeOpen = false;
    troubles.worked(part);
    // Another process took the lane during the attempt: it need not wait for an outcome that is known.
    if (lane.isGone) await wakeLanes(bus, db, [{ deliveryId, laneId, channel, channelAccountId, ordinal }]);
    switch (result.kind) {
      case "over":
        lane.queue.shift();
        return 0;
      case "fenced": {
        const wait = isOwn ? { ...overWait, ms: 0 } : underWayWait;
        await recoverAttempt(db, fence(), deliveryId, new Date(clock.now()), wait);
        lane.forgetQueue(ordinal);
        return troubleMs;
      }
      case "held":
        if (!account.isHeld && !isClosing) hold(account, channelAccountId);
        return 0;
      case "again":
        return Math.max(1, result.waitMs);
      default:
        return result satisfies never;
    }
  }

  function end(lane: Lane, account: AccountState, restMs: number): void {
    underWay -= 1;
    account.moves += 1;
    if (underWay === 0) whenQuiet();
    if (!lane.isGone) proceed(lane, restMs);
    pump(account);
  }

  /** Null when something waits before the delivery, or it cannot be sent now: it must be published. */
  function reserve(laneId: string, channelAccountId: ChannelAccountId): Reservation | null {
    const partition = bus.partitionOf(laneId);
    if (isClosing || lanes.has(laneId) || !subscription.isReady(partition)) return null;
    const known = deps.accounts.peek(channelAccountId);
    if (known?.status !== "active") return null;
    const account = accountOf(channelAccountId);
    if (account.isHeld || account.ready.length > 0 || account.gate.admit(clock.elapsed()) > 0) return null;
    const lane = addLane(laneId, channelAccountId, partition);
    begin(lane, account);
    return {
      starter: subscription.ownerId,
      start(started) {
        // Nothing waits before it.
        lane.queue.unshift({ deliveryId: started.deliveryId, ordinal: 0 });
        void finish(lane, account, attempts.finishStarted(started, known, account.gate));
      },
      release(isKnown) {
        account.gate.abandoned();
        if (!isKnown) lane.forgetQueue(0);
        lane.mayBeOpen = !isKnown;
        end(lane, account, isKnown ? 0 : troubleMs);
      },
    };
  }

  return {
    reserve,
    /** Null before this process has used the account. */
    health(channelAccountId: ChannelAccountId) {
      const account = accounts.get(channelAccountId);
      if (account === undefined) return null;
      const own = [...lanes.values()].filter((lane) => lane.channelAccountId === channelAccountId);
      const waits = (lane: Lane) => lane.state === "parked" || (account.isHeld && lane.state === "ready");
      const parkedLanes = own.filter(waits).length;
      return { ...account.gate.describe(clock.elapsed()), parkedLanes };
    },
    /** Accounts with lanes that can send now: not those that wait for a time or a receipt, nor behind a shut gate. */
    places(): Place[] {
      const now = clock.elapsed();
      const canSend = ({ state, channelAccountId }: Lane) => {
        const { isHeld, shutUntil } = accountOf(channelAccountId);
        return state === "ready" ? !isHeld && shutUntil <= now : state !== "parked";
      };
      const sending = Map.groupBy([...lanes.values()].filter(canSend), (lane) => lane.channelAccountId);
      return [...sending].map(([key, { length }]) => ({ key, mark: accountOf(key).moves, waiting: length }));
    },
    /** Starts no further attempt, waits for those under way, and gives the partitions back. */
    async close(): Promise<void> {
      isClosing = true;
      for (const account of accounts.values()) account.cancelTimer();
      for (const lane of lanes.values()) lane.cancelTimer();
      if (underWay > 0) await new Promise<void>((resolve) => (whenQuiet = resolve));
      await subscription.close();
    },
  };
}
