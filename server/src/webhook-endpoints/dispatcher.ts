import { openBatcher } from "../lib/batcher.ts";
import { pause, type Random } from "../lib/clock.ts";
import { isRecordFault } from "../lib/faults.ts";
import { newId } from "../lib/ids.ts";
import { repeat } from "../lib/repeat.ts";
import type { Troubles } from "../lib/troubles.ts";
import {
  type Claimed,
  claimDue,
  claimHead,
  endpointsWithWork,
  findActiveEndpoint,
  freeAbandoned,
  leave,
  stayAlive,
} from "./claims.ts";
import { type DisableDeps, disableFailing, disableGone, disableWithoutMaker } from "./disable.ts";
import type { SealedEndpoint } from "./endpoint.ts";
import { endpointsWithoutMaker } from "./endpoint-rows.ts";
import { type Finished, finishAttempts } from "./finish.ts";
import { type Lane, openLanes } from "./lanes.ts";
import { patienceMs, retryDelayMs } from "./schedule.ts";
import { failedHere, goneStatus, holdsKeysOf, type Outcome, type SendDeps, sendWebhook } from "./send.ts";

export interface DispatcherDeps extends SendDeps, DisableDeps {
  random: Random;
  /** How long what a process that went silent has claimed stays with it, in milliseconds. */
  leaseMs: number;
  troubles: Troubles;
}

/** An endpoint, and since when nothing has reached it. */
export interface EndpointToWake {
  webhook_endpoint_id: string;
  failing_since: Date | null;
}

export interface Dispatcher {
  /** Something may be due for these endpoints now. */
  wake(endpoints: readonly EndpointToWake[]): void;
  /** Looks for what is due, once. It does so by itself every second. */
  look(): Promise<void>;
  /** Starts no further attempt, waits a little for those under way, and gives back the rest. */
  close(): Promise<void>;
}

const part = "send to webhook endpoints";
/** What is due, also retries and what another process left, is found this soon, in milliseconds. */
const lookEveryMs = 1_000;
/** Endpoints found with one look; the next look goes on behind them. */
const lookPage = 1_000;
const finishBatch = 128;
/** A slower answer counts as trouble: the endpoint is asked one at a time. */
const quickMs = 2_000;
/** How long attempts may go on when the process is told to end, in milliseconds. */
const closeGraceMs = 2_000;
/** The pause before the database is asked again what it could not do, in milliseconds. */
const troubleMs = 1_000;

/**
 * Sends what is due in `webhook_deliveries`. Any number of processes may run one: each claims deliveries under its own
 * `ownerId`, and what a dead one had claimed is free once its lease is over. An attempt that it had made is then made again.
 */
export function openDispatcher(deps: DispatcherDeps): Dispatcher {
  const { db, clock, log, troubles, random, leaseMs } = deps;
  const ownerId = newId(clock.now());
  const lanes = openLanes();
  const ending = new AbortController();
  let isClosing = false;
  let aliveUntil = Number.NEGATIVE_INFINITY;
  let lastEndpointId = firstId;
  let whenQuiet = () => {};

  const finisher = openBatcher<Finished, undefined>({
    maxBatch: finishBatch,
    // Bounded by the attempts under way.
    maxWaiting: Number.POSITIVE_INFINITY,
    paceMs: 5,
    clock,
    run: finish,
  });
  const looking = repeat(clock, lookEveryMs, look, (error) => troubles.failed(part, error));

  const beating = repeat(
    clock,
    leaseMs / 4,
    async () => {
      if (lanes.underWay > 0) await renew();
    },
    (error) => troubles.failed(part, error),
  );

  async function look(): Promise<void> {
    const freed = await freeAbandoned(db);
    troubles.worked(part);
    if (freed > 0)
      log.warn({ deliveries: freed }, "webhook endpoints: took over what a process that ended had claimed");
    const now = new Date(clock.now());
    for (const key of await endpointsWithoutMaker(db, now)) await disableWithoutMaker(deps, key);
    const found = await endpointsWithWork(db, { now, afterId: lastEndpointId, limit: lookPage });
    lastEndpointId = found.length === lookPage ? found.at(-1)!.webhook_endpoint_id : firstId;
    wake(found);
  }

  /** Claims stay ours for the length of the lease from here on. */
  async function renew(): Promise<void> {
    if (clock.elapsed() < aliveUntil - (leaseMs * 3) / 4) return;
    const startMs = clock.elapsed();
    await stayAlive(db, ownerId, leaseMs);
    aliveUntil = startMs + leaseMs;
  }

  function wake(endpoints: readonly EndpointToWake[]): void {
    for (const { webhook_endpoint_id, failing_since } of endpoints) {
      lanes.wake(webhook_endpoint_id, failing_since !== null);
    }
    pump();
  }

  function pump(): void {
    if (isClosing) return;
    for (let turn = lanes.next(); turn !== null; turn = lanes.next()) void serve(turn.lane, turn.places);
  }

  /** Claims what is due for the lane, and begins with it. */
  async function serve(lane: Lane, places: number): Promise<void> {
    let claimed: Claimed[] = [];
    let endpoint: SealedEndpoint | null = null;
    try {
      await renew();
      const claim = { ownerId, now: new Date(clock.now()), limit: places };
      endpoint = await findActiveEndpoint(db, lane.endpointId, claim.now);
      // What this process cannot sign is no attempt: another one may send it. `watchKeys` reports the missing key.
      if (endpoint !== null && !isClosing && holdsKeysOf(endpoint, deps.secretBox, claim.now)) {
        claimed = await (endpoint.is_ordered ? claimHead : claimDue)(db, lane.endpointId, claim);
      }
    } catch (error) {
      // The next look wakes it again.
      troubles.failed(part, error);
    }
    lanes.settle(lane, places, claimed.length);
    for (const delivery of claimed) void attempt(lane, endpoint!, delivery);
    quieten();
    pump();
  }

  async function attempt(lane: Lane, endpoint: SealedEndpoint, delivery: Claimed): Promise<void> {
    const startedAt = new Date(clock.now());
    const outcome = await sendWebhook(deps, endpoint, delivery, ending.signal).catch((error) => {
      log.error({ err: error, endpoint: lane.endpointId }, "webhook endpoints: an attempt failed in the hub");
      return failedHere(startedAt);
    });
    if (outcome !== null) {
      await finisher.submit([toFinished(endpoint, delivery, outcome)]).catch((error) => {
        log.error({ err: error, endpoint: lane.endpointId }, "webhook endpoints: an outcome was lost");
      });
    }
    const isQuickSuccess = outcome?.isSuccess === true && outcome.durationMs < quickMs;
    lanes.finish(lane, { isQuickSuccess, isOrdered: endpoint.is_ordered });
    quieten();
    pump();
  }

  function toFinished(endpoint: SealedEndpoint, delivery: Claimed, outcome: Outcome): Finished {
    const tries = delivery.attempts - delivery.attempts_before + 1;
    const delayMs = outcome.isSuccess ? null : retryDelayMs(tries, outcome.askedMs, random);
    return {
      deliveryId: delivery.webhook_delivery_id,
      workspaceId: endpoint.workspace_id,
      endpointId: endpoint.webhook_endpoint_id,
      event: delivery.event,
      number: delivery.attempts + 1,
      outcome,
      retryAt: delayMs === null ? null : new Date(clock.now() + delayMs),
    };
  }

  /** What is known is written down however long the database is away, unless the process ends. */
  async function finish(finished: Finished[]): Promise<undefined[]> {
    for (;;) {
      try {
        const failing = await finishAttempts(db, ownerId, finished);
        for (const { outcome, ...key } of finished) {
          if (outcome.statusCode === goneStatus) await disableGone(deps, key);
        }
        for (const { failingSince, ...key } of failing) {
          if (clock.now() - failingSince.getTime() >= patienceMs) await disableFailing(deps, key);
        }
        troubles.worked(part);
        return finished.map(() => undefined);
      } catch (error) {
        if (isRecordFault(error) || isClosing) throw error;
        troubles.failed(part, error);
        await pause(clock, troubleMs, ending.signal);
      }
    }
  }

  function quieten(): void {
    if (lanes.underWay === 0) whenQuiet();
  }

  return {
    wake,
    look,
    async close() {
      isClosing = true;
      await looking.close();
      const cancel = clock.after(closeGraceMs, () => ending.abort());
      if (lanes.underWay > 0) await new Promise<void>((resolve) => (whenQuiet = resolve));
      cancel();
      await beating.close();
      await leave(db, ownerId).catch((error) =>
        log.warn({ err: error }, "webhook endpoints: claims could not be given back, and end with their lease"),
      );
    },
  };
}

/** Before every other. */
const firstId = "00000000-0000-0000-0000-000000000000";
