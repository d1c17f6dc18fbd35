import type { PipelineDb } from "../database-roles.ts";
import { type Batcher, openBatcher } from "../lib/batcher.ts";
import { pause, type Random } from "../lib/clock.ts";
import { isRecordFault } from "../lib/faults.ts";
import { newId } from "../lib/ids.ts";
import { type Repeated, repeat } from "../lib/repeat.ts";
import { thisProcess } from "../lib/this-process.ts";
import type { Troubles } from "../lib/troubles.ts";
import { type Finished, finishAttempts } from "./attempts.ts";
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
import { type DisableDeps, disable } from "./disable.ts";
import { EndpointQueue, type QueuedEndpoint, type Turn } from "./endpoint-queue.ts";
import { endpointsWithoutCreator, type SealedEndpoint } from "./endpoint-rows.ts";
import { patienceMs, retryDelayMs } from "./schedule.ts";
import { failedHere, goneStatus, holdsKeysOf, type Outcome, type SendDeps, sendWebhook } from "./send.ts";

export interface DispatcherDeps extends SendDeps, DisableDeps {
  db: PipelineDb;
  random: Random;
  leaseMs: number;
  troubles: Troubles;
}

const part = "send to webhook endpoints";
/** Finds what is due without a notification, such as retries and what another process left. */
const pollEveryMs = 1_000;
/** Endpoints found by one poll; the next poll continues after them. */
const pollPage = 1_000;
const finishBatch = 128;
/** A slower response counts as a problem: the endpoint gets one request at a time. */
const quickMs = 2_000;
const closeGraceMs = 2_000;
const retryPauseMs = 1_000;

/**
 * Sends what is due in `webhook_deliveries`. Any number of processes may run one: each claims deliveries under its own
 * owner id, and the claims of a dead one are free once its lease is over. An attempt that it had made is then repeated.
 */
export class Dispatcher {
  readonly #deps: DispatcherDeps;
  readonly #ownerId: string;
  readonly #queue = new EndpointQueue();
  readonly #ending = new AbortController();
  readonly #finisher: Batcher<Finished, undefined>;
  readonly #polling: Repeated;
  readonly #renewing: Repeated;
  #isClosing = false;
  #aliveUntilMs = Number.NEGATIVE_INFINITY;
  #lastEndpointId = firstId;
  #onIdle = () => {};

  constructor(deps: DispatcherDeps) {
    const { clock, log, troubles, leaseMs } = deps;
    this.#deps = deps;
    this.#ownerId = newId(clock.now());
    this.#finisher = openBatcher({
      maxBatch: finishBatch,
      // Bounded by the attempts under way.
      maxWaiting: Number.POSITIVE_INFINITY,
      paceMs: 5,
      clock,
      run: (finished) => this.#finish(finished),
    });
    log.info({ owner: this.#ownerId, ...thisProcess }, "webhook endpoints: this process sends");
    const onFailure = (error: unknown) => troubles.failed(part, error);
    this.#polling = repeat(clock, pollEveryMs, () => this.poll(), onFailure);
    this.#renewing = repeat(clock, leaseMs / 4, () => this.#renewIfBusy(), onFailure);
  }

  wake(endpoints: readonly Pick<SealedEndpoint, "webhook_endpoint_id" | "failing_since">[]): void {
    for (const { webhook_endpoint_id, failing_since } of endpoints) {
      this.#queue.wake(webhook_endpoint_id, failing_since !== null);
    }
    this.#pump();
  }

  /** Finds and starts what is due. Runs every second without a call. */
  async poll(): Promise<void> {
    const { db, clock, log, troubles, leaseMs } = this.#deps;
    const freed = await freeAbandoned(db, leaseMs);
    troubles.worked(part);
    if (freed > 0) log.warn({ deliveries: freed }, "webhook endpoints: took over the deliveries of an ended process");
    const now = new Date(clock.now());
    for (const key of await endpointsWithoutCreator(db, now)) await disable(this.#deps, key, "maker_lost_access");
    const found = await endpointsWithWork(db, { now, afterId: this.#lastEndpointId, limit: pollPage });
    this.#lastEndpointId = found.length === pollPage ? found.at(-1)!.webhook_endpoint_id : firstId;
    this.wake(found);
  }

  /** Starts no further attempt, waits `closeGraceMs` for those under way, and gives back the rest. */
  async close(): Promise<void> {
    const { db, clock, log } = this.#deps;
    this.#isClosing = true;
    await this.#polling.close();
    const cancel = clock.after(closeGraceMs, () => this.#ending.abort());
    if (this.#queue.underWay > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    cancel();
    await this.#renewing.close();
    await leave(db, this.#ownerId).catch((error) =>
      log.warn({ err: error }, "webhook endpoints: claims could not be given back, and end with their lease"),
    );
  }

  async #renewIfBusy(): Promise<void> {
    if (this.#queue.underWay > 0) await this.#renew();
  }

  async #renew(): Promise<void> {
    const { db, clock, leaseMs } = this.#deps;
    const startMs = clock.elapsed();
    if (startMs < this.#aliveUntilMs - (leaseMs * 3) / 4) return;
    await stayAlive(db, this.#ownerId, leaseMs);
    this.#aliveUntilMs = startMs + leaseMs;
  }

  #pump(): void {
    if (this.#queue.underWay === 0) this.#onIdle();
    if (this.#isClosing) return;
    for (let turn = this.#queue.next(); turn !== null; turn = this.#queue.next()) void this.#serve(turn);
  }

  async #serve(turn: Turn): Promise<void> {
    const { db, clock, secretBox, troubles } = this.#deps;
    const { endpointId } = turn.endpoint;
    let claimed: Claimed[] = [];
    let endpoint: SealedEndpoint | null = null;
    try {
      await this.#renew();
      const claim = { ownerId: this.#ownerId, now: new Date(clock.now()), limit: turn.places };
      endpoint = await findActiveEndpoint(db, endpointId, claim.now);
      // Without the key to sign there is no attempt: another process may have it. `watchKeys` reports the missing key.
      if (endpoint !== null && !this.#isClosing && holdsKeysOf(endpoint, secretBox, claim.now)) {
        claimed = await (endpoint.is_ordered ? claimHead : claimDue)(db, endpointId, claim);
      }
    } catch (error) {
      troubles.failed(part, error);
    }
    this.#queue.settle(turn, claimed.length);
    for (const delivery of claimed) void this.#attempt(turn.endpoint, endpoint!, delivery);
    this.#pump();
  }

  async #attempt(queued: QueuedEndpoint, endpoint: SealedEndpoint, delivery: Claimed): Promise<void> {
    const { clock, log } = this.#deps;
    const { endpointId } = queued;
    const startedAt = new Date(clock.now());
    const outcome = await sendWebhook(this.#deps, endpoint, delivery, this.#ending.signal).catch((error) => {
      log.error({ err: error, endpoint: endpointId }, "webhook endpoints: an attempt failed in the hub");
      return failedHere(startedAt);
    });
    if (outcome !== null) {
      await this.#finisher.submitOne(this.#toFinished(endpoint, delivery, outcome)).catch((error) => {
        log.error({ err: error, endpoint: endpointId }, "webhook endpoints: an outcome was lost");
      });
    }
    const isQuickSuccess = outcome?.isSuccess === true && outcome.durationMs < quickMs;
    this.#queue.finish(queued, { isQuickSuccess, isOrdered: endpoint.is_ordered });
    this.#pump();
  }

  #toFinished(endpoint: SealedEndpoint, delivery: Claimed, outcome: Outcome): Finished {
    const { clock, random } = this.#deps;
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

  /** Retries the write until the database accepts it or the process ends. */
  async #finish(finished: readonly Finished[]): Promise<undefined[]> {
    const { db, clock, troubles } = this.#deps;
    for (;;) {
      try {
        const failing = await finishAttempts(db, this.#ownerId, finished);
        for (const { outcome, ...key } of finished) {
          if (outcome.statusCode === goneStatus) await disable(this.#deps, key, "gone");
        }
        for (const { failingSince, ...key } of failing) {
          if (clock.now() - failingSince.getTime() >= patienceMs) await disable(this.#deps, key, "failing");
        }
        troubles.worked(part);
        return finished.map(() => undefined);
      } catch (error) {
        if (isRecordFault(error) || this.#isClosing) throw error;
        troubles.failed(part, error);
        await pause(clock, retryPauseMs, this.#ending.signal);
      }
    }
  }
}

const firstId = "00000000-0000-0000-0000-000000000000";
