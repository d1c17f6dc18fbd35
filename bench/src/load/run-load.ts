import { moved } from "../movement.ts";
import { type Answer, type Connection, openConnection } from "./connection.ts";
import { type LatencySummary, latencies } from "./latencies.ts";
import { makeReceiptRequest, type ReceiptTraffic } from "./receipts.ts";
import { makeRequest, type Request, type Traffic, urlOf } from "./requests.ts";

/**
 * How requests follow each other. `closed`: each connection sends as soon as it has its response. `open`: at a fixed rate,
 * independent of the responses; latency counts from when a request should have left, and one that found no idle connection
 * leaves later. `flood`: at a fixed rate that is too
 * much: 503 counts as a response like any other, a request that finds no idle connection is dropped, and latency counts from when
 * a request left. One connection of `patientShare` waits as long as `retry-after` says, the others send at once.
 * `credit`: as `closed`, but never more messages than were allowed so far.
 *
 * A request that gets 503, where the pace does not expect it, is sent again after `retry-after`: a machine
 * whose disk stalls makes a run slower, and does not fail it.
 */
export type Pace =
  | { kind: "closed"; durationMs: number; warmUpMs: number; mayBeRefused?: true }
  | { kind: "open" | "flood"; durationMs: number; warmUpMs: number; requestsPerSecond: number }
  | { kind: "credit"; messages: number };

export interface LoadOrder {
  traffic: Traffic | ReceiptTraffic;
  connections: number;
  pace: Pace;
  firstMessage: number;
}

export interface LoadResult {
  /** Messages that were accepted, the warm-up included. */
  accepted: number;
  /** Number of the first message that was not sent. */
  nextMessage: number;
  /** Of those, accepted within the measured time; `open`: due within it. */
  measured: number;
  /** The measured time: without the warm-up. */
  seconds: number;
  latencyMs: LatencySummary;
  /** Requests that got 503 within the measured time, when that is no failure. */
  refused: { measured: number; latencyMs: LatencySummary };
  /** `flood` only: how long refusals took on patient connections. */
  patient: LatencySummary;
  /** What the first request that was not accepted got. */
  failure: string | null;
}

export interface Load {
  /** `credit` only: messages that may have been sent in all. */
  allow(messages: number): void;
  readonly result: Promise<LoadResult>;
}

/** Between a refused request and its repetition, at least. */
const shortestRetryMs = 50;
/** One in so many connections is patient. */
const patientShare = 10;
const openedAtOnce = 100;

/** Sends until the time or the messages are over, then waits for the last responses. */
export function runLoad(order: LoadOrder): Load {
  let allow: (messages: number) => void = () => {};
  let allowed = 0;
  const result = (async () => {
    const worker = await openWorkers(order);
    try {
      allow = (messages) => worker.allow(messages);
      if (allowed > 0) allow(allowed);
      return await worker.run();
    } finally {
      worker.close();
    }
  })();
  return {
    allow(messages) {
      allowed = messages;
      allow(messages);
    },
    result,
  };
}

interface Worker {
  connection: Connection;
  request: Request;
  /** The last request, as it was sent. */
  sent: Buffer;
  /** When the request under way should have left. */
  since: number;
  isPatient: boolean;
}

async function openWorkers({ traffic, connections, pace, firstMessage }: LoadOrder) {
  const mayBeRefused = pace.kind === "flood" || (pace.kind === "closed" && pace.mayBeRefused);
  const batchSize = "sent" in traffic ? 1 : traffic.batchSize;
  const wanted = batchSize === 1 ? [200, 202] : [200];
  const seen = latencies();
  const seenRefused = latencies();
  const seenPatient = latencies();
  const idle: Worker[] = [];
  const workers: Worker[] = [];
  let next = firstMessage;
  let accepted = 0;
  let measured = 0;
  let refused = 0;
  let failure: string | null = null;
  let measuredFrom = 0;
  let endsAt = 0;
  let limit = pace.kind === "credit" ? firstMessage : Number.POSITIVE_INFINITY;
  const end = pace.kind === "credit" ? firstMessage + pace.messages : Number.POSITIVE_INFINITY;
  const done = Promise.withResolvers<void>();
  // A connection may be lost before it is awaited.
  done.promise.catch(() => {});
  /** `open` and `flood`: more requests may become due. A response after the end may be read before the timer has run. */
  let hasMoreDue = pace.kind === "open" || pace.kind === "flood";
  /** `open`: when the requests that found no idle connection should have left. */
  const late: number[] = [];

  function send(worker: Worker, since: number): void {
    worker.since = since;
    worker.sent = worker.request.fill(next);
    worker.connection.send(worker.sent);
    next += batchSize;
  }

  function answered(worker: Worker, { status, beginning }: Answer): void {
    const now = performance.now();
    const countsAt = pace.kind === "open" ? worker.since : now;
    const isMeasured = countsAt >= measuredFrom && countsAt <= endsAt;
    if (mayBeRefused || status !== 503) moved("a response to a request of the generator");
    if (wanted.includes(status)) {
      accepted += batchSize;
      if (isMeasured) {
        measured += batchSize;
        seen.add(now - worker.since);
      }
    } else if (mayBeRefused && status === 503) {
      if (isMeasured) {
        refused += 1;
        seenRefused.add(now - worker.since);
        if (worker.isPatient) seenPatient.add(now - worker.since);
      }
      if (pace.kind === "flood" && worker.isPatient) return void setTimeout(rest, retryAfterMs(beginning), worker);
    } else if (status === 503) {
      // The database or its disk stalled. Messages are numbered, so the same request is sent again.
      setTimeout(() => worker.connection.send(worker.sent), Math.max(shortestRetryMs, retryAfterMs(beginning)));
      return;
    } else failure ??= beginning.toString("latin1", 0, 600);
    const mayGoOn = failure === null && next + batchSize <= limit;
    if (mayGoOn && now < endsAt && (pace.kind === "closed" || pace.kind === "credit")) send(worker, now);
    else if (mayGoOn && late.length > 0) send(worker, late.shift()!);
    else rest(worker);
  }

  function rest(worker: Worker): void {
    idle.push(worker);
    if (idle.length < workers.length || hasMoreDue) return;
    if (performance.now() >= endsAt || failure !== null || next >= end) done.resolve();
  }

  const fail = (error: Error) => done.reject(error);
  async function openWorker(index: number): Promise<void> {
    const isPatient = index % patientShare === 0;
    const worker = {
      request: "sent" in traffic ? makeReceiptRequest(traffic) : makeRequest(traffic, index),
      since: 0,
      isPatient,
    } as Worker;
    const { hostname, port } = new URL("sent" in traffic ? traffic.url : urlOf(traffic, index));
    worker.connection = await openConnection(
      { host: hostname, port: Number(port) },
      (answer) => answered(worker, answer),
      fail,
    );
    workers.push(worker);
    idle.push(worker);
  }
  // The hub closes idle connections, so many must be opened soon.
  for (let opened = 0; opened < connections; opened += openedAtOnce) {
    const count = Math.min(openedAtOnce, connections - opened);
    await Promise.all(Array.from({ length: count }, (_, index) => openWorker(opened + index)));
  }

  function sendIdle(): void {
    const now = performance.now();
    while (idle.length > 0 && now < endsAt && next + batchSize <= limit) send(idle.pop()!, now);
  }

  /** Sends what is due at the asked rate, evenly spaced; checks once a millisecond. */
  function sendDue(startedAt: number, requestsPerSecond: number): void {
    const everyMs = 1000 / requestsPerSecond;
    let dueAt = startedAt;
    const timer = setInterval(() => {
      const now = performance.now();
      for (; dueAt <= now && dueAt < endsAt && failure === null; dueAt += everyMs) {
        // By turns, so that patient connections take part although others are idle again at once.
        const worker = pace.kind === "flood" ? idle.shift() : idle.pop();
        if (worker !== undefined) send(worker, pace.kind === "open" ? dueAt : now);
        else if (pace.kind === "open") late.push(dueAt);
      }
      if (now < endsAt && failure === null) return;
      clearInterval(timer);
      hasMoreDue = false;
      if (idle.length === workers.length) done.resolve();
    }, 1);
  }

  return {
    allow(messages: number) {
      limit = Math.min(end, firstMessage + messages);
      sendIdle();
    },
    async run(): Promise<LoadResult> {
      const startedAt = performance.now();
      const durationMs = pace.kind === "credit" ? Number.POSITIVE_INFINITY : pace.warmUpMs + pace.durationMs;
      measuredFrom = startedAt + (pace.kind === "credit" ? 0 : pace.warmUpMs);
      endsAt = startedAt + durationMs;
      if (pace.kind === "open" || pace.kind === "flood") sendDue(startedAt, pace.requestsPerSecond);
      else sendIdle();
      await done.promise;
      const seconds = (Math.min(performance.now(), endsAt) - measuredFrom) / 1000;
      const latencyMs = seen.summary();
      const refusals = { measured: refused, latencyMs: seenRefused.summary() };
      return {
        accepted,
        nextMessage: next,
        measured,
        seconds,
        latencyMs,
        refused: refusals,
        patient: seenPatient.summary(),
        failure,
      };
    },
    close() {
      for (const { connection } of workers) connection.close();
    },
  };
}

function retryAfterMs(head: Buffer): number {
  return Number(/^retry-after: (\d+)/im.exec(head.toString("latin1"))?.[1] ?? 0) * 1_000;
}
