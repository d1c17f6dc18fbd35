import { type ChannelAccounts, type ConnectedAccount, countedWaitMs } from "../../channel-accounts/channel-accounts.ts";
import type { ChannelAccount, Connector, ConnectorIo } from "../../connectors/connector.ts";
import type { FileToSend, FindFileToSend } from "../../files/files.ts";
import { type Backoff, doubledMs } from "../../lib/backoff.ts";
import { openBatcher } from "../../lib/batcher.ts";
import { type Clock, pause } from "../../lib/clock.ts";
import { isRecordFault } from "../../lib/faults.ts";
import { type ChannelAccountId, newId } from "../../lib/ids.ts";
import type { Troubles } from "../../lib/troubles.ts";
import type { PipelineDeps } from "../pipeline-deps.ts";
import { applyEarlyReceipts } from "../receipts/receipts.ts";
import type { AccountGate } from "./account-gate.ts";
import { type FinishedAttempt, finishAttempts } from "./finish-attempts.ts";
import { type JudgePolicy, judge } from "./judge.ts";
import { postponeAttempt } from "./postpone-attempt.ts";
import { type AccountRefusal, refuseAccount } from "./refuse-account.ts";
import { FileUnreadable, nothing, type SendResult, sendDelivery } from "./send-delivery.ts";
import { type Fence, onePartBytes, type Start, type StartedDelivery, startAttempts } from "./start-attempts.ts";

export interface AttemptDeps extends Pick<PipelineDeps, "db" | "bus" | "eventNotifier" | "log"> {
  troubles: Troubles;
  connector: Connector;
  io: ConnectorIo;
  accounts: Pick<ChannelAccounts, "get" | "peek" | "needsAttention">;
  findFile: FindFileToSend;
  policy: JudgePolicy;
}

/** `over`: nothing is left to send. `fenced`: see `Start`. `held`: the account cannot send. */
export type AttemptResult = { kind: "over" | "fenced" | "held" } | { kind: "again"; waitMs: number };

const batchSize = 256;
/** See `BatcherOptions`: short compared with the response of a platform. */
const paceMs = 10;
/** Before a file that cannot be read is tried again. */
const filePauseMs = 2_000;
const writeBackoff: Backoff = { firstMs: 250, longestMs: 5_000 };

/** For batchers whose items must not be refused. */
export function unbounded(clock: Clock) {
  return { maxWaiting: Number.POSITIVE_INFINITY, paceMs, clock };
}

export function openAttempts(deps: AttemptDeps & { fence: () => Fence; isClosing: () => boolean }) {
  const { db, bus, eventNotifier, log, troubles, accounts, connector, io, policy, isClosing } = deps;
  const { clock, random } = io;
  const receipts = { db, bus, clock };
  const { channel, capabilities } = connector;
  const part = `outcomes ${channel}`;
  const starter = openBatcher<string, Start>({
    ...unbounded(clock),
    maxBatch: batchSize,
    run: (ids) => startAttempts(db, deps.fence(), ids, new Date(clock.now()), onePartBytes(capabilities)),
  });
  const writing = new Set<Promise<boolean>>();
  const finisher = openBatcher<FinishedAttempt, boolean>({ ...unbounded(clock), maxBatch: batchSize, run: finish });

  /** In steps that many deliveries share. The gate, which admitted it, gets the outcome. Rejects without the database. */
  async function make(
    deliveryId: string,
    channelAccountId: ChannelAccountId,
    gate: AccountGate,
  ): Promise<AttemptResult> {
    const { account, start } = await begin(deliveryId, channelAccountId).catch((error) => {
      gate.abandoned();
      throw error;
    });
    if (start.kind === "started") return finishStarted(start, account, gate);
    gate.abandoned();
    return start;
  }

  async function begin(deliveryId: string, channelAccountId: ChannelAccountId) {
    // Before the attempt is recorded: it needs credentials.
    const account = await accounts.get(channelAccountId);
    if (account !== null && account.status !== "active") return { account, start: { kind: "held" } as const };
    const start = await starter.submitOne(deliveryId);
    if (start.kind === "started") eventNotifier.notify(start.workspaceId);
    return { account, start };
  }

  /** The same for one that was started with its commit. */
  async function finishStarted(
    { retriedForMs: waitedMs, ...delivery }: StartedDelivery,
    account: ConnectedAccount | null,
    gate: AccountGate,
  ): Promise<AttemptResult> {
    gate.setRate(account?.settings.rate_per_second ?? capabilities.ratePerSecond, clock.elapsed());
    const startMs = clock.elapsed();
    const retriedForMs = account === null ? 0 : countedWaitMs(account, waitedMs, clock);
    const started = { ...delivery, retriedForMs };
    const file = await fileOf(started);
    const sent = file?.kind === "pending" ? file : await send(account, started, file);
    if ("waitMs" in sent) {
      gate.abandoned();
      const error = { code: "FILE_PENDING", message: "The file is not there yet. The message is sent when it is." };
      await postponeAttempt(db, started, error, sent.waitMs);
      return { kind: "again", waitMs: sent.waitMs };
    }
    const finished = judge(started, sent, capabilities.afterUnknown, policy, clock.elapsed() - startMs, random);
    gate.finished({
      outcome: sent.outcome,
      requests: Math.max(1, sent.exchanges.length),
      startMs,
      endMs: clock.elapsed(),
      at: finished.finishedAt,
    });
    const isRefused = account !== null && sent.outcome.kind === "account_refused";
    // A failure is harmless: the next attempt meets the same refusal.
    if (isRefused)
      await refuseAccount(deps, account, sent.outcome as AccountRefusal).catch((error) => troubles.failed(part, error));
    const isSettled = await write(finished);
    eventNotifier.notify(started.workspaceId);
    if (isSettled || finished.isFinal) return { kind: "over" };
    return isRefused ? { kind: "held" } : { kind: "again", waitMs: finished.retryAfterMs! };
  }

  /** While the database cannot be read, the file counts as pending. */
  async function fileOf({ workspaceId, payload }: StartedDelivery): Promise<FileToSend | null> {
    if (payload.type !== "file") return null;
    try {
      return await deps.findFile(workspaceId, payload.file_id);
    } catch (error) {
      troubles.failed(part, error);
      return { kind: "pending", waitMs: filePauseMs };
    }
  }

  async function send(
    account: ChannelAccount | null,
    started: StartedDelivery,
    file: Exclude<FileToSend, { kind: "pending" }> | null,
  ): Promise<SendResult | { waitMs: number }> {
    if (account === null) {
      const detail = "The channel account was deleted.";
      return { ...nothing(started), outcome: { kind: "refused", reason: "CHANNEL_ACCOUNT_GONE", detail } };
    }
    try {
      return await sendDelivery(connector, account, started, file, io);
    } catch (error) {
      if (error instanceof FileUnreadable) {
        troubles.failed(part, error.cause);
        return { waitMs: filePauseMs };
      }
      // A connector must not throw. If one does, its outcome is unknown, and the lane must not loop.
      log.error({ err: error, channel, delivery_id: started.deliveryId }, "a connector failed");
      return { ...nothing(started), outcome: { kind: "unknown", detail: "The connector failed; see the log." } };
    }
  }

  function write(finished: FinishedAttempt): Promise<boolean> {
    const written = finisher.submitOne(finished);
    writing.add(written);
    return written.finally(() => writing.delete(written));
  }

  /**
   * Retries while the database is away: the response of a platform must not be lost. An outcome that cannot be stored in
   * full is stored without details: sending again would be worse.
   */
  async function finish(finished: FinishedAttempt[]): Promise<boolean[]> {
    const batchId = newId(clock.now());
    let toWrite = finished;
    for (let tries = 1; ; tries += 1) {
      try {
        const { settled, early } = await finishAttempts(db, toWrite, batchId);
        if (early.length > 0) await applyEarlyReceipts(receipts, early);
        troubles.worked(part);
        return toWrite.map((attempt) => settled.has(attempt.deliveryId));
      } catch (error) {
        if (isClosing()) throw error;
        if (!isRecordFault(error)) {
          troubles.failed(part, error);
          await pause(clock, doubledMs(writeBackoff, tries));
          continue;
        }
        const [attempt] = toWrite;
        if (toWrite.length > 1) return (await Promise.all(toWrite.map((one) => finish([one])))).flat();
        if (attempt!.exchanges.length === 0) throw error;
        const { deliveryId: delivery_id } = attempt!;
        log.error({ err: error, channel, delivery_id }, "an outcome is stored without its exchange");
        toWrite = [{ ...attempt!, exchanges: [] }];
      }
    }
  }

  return {
    make,
    finishStarted,
    /** Resolves when all known outcomes are written, or cannot be. */
    written: async () => void (await Promise.allSettled(writing)),
  };
}
