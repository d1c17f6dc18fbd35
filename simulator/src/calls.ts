import { createReadStream } from "node:fs";
import type { FastifyReply } from "fastify";
import type { CallKind, Fault, FaultName } from "./faults.ts";
import type { ReceivedMessage, StoredMessage } from "./messages.ts";
import { maxWaitingForSends } from "./webhooks/webhooks.ts";
import type { World } from "./world.ts";

export type Answer =
  | { kind: "json"; status: number; body: string; headers?: Record<string, string> }
  /** The bytes of a file on disk. `cutAt`: the connection ends after so many of them, at least one. */
  | { kind: "file"; path: string; bytes: number; contentType: string; cutAt?: number }
  | { kind: "reset" }
  /** Nothing is said for so long, then the socket is destroyed. */
  | { kind: "silence"; forMs: number };

export function json(status: number, body: unknown, headers?: Record<string, string>): Answer {
  const answer = { kind: "json" as const, status, body: JSON.stringify(body) };
  return headers ? { ...answer, headers } : answer;
}

interface Call {
  run: () => Answer | Promise<Answer>;
  /** The platform's response to what `run` threw, and while it is `down`. */
  explain: (error: unknown) => Answer;
  down: () => Answer;
}

/** Waits for the latency, plays `down`, runs the call and sends the response. Never throws. */
export async function takeCall(world: World, channel: string, reply: FastifyReply, call: Call): Promise<void> {
  try {
    const { latency_ms } = world.settings.of(channel);
    const down = world.faults.hit(channel, ["down"], undefined);
    if (latency_ms > 0) await wait(latency_ms);
    if (down === undefined) give(reply, await call.run());
    else give(reply, down.destroy === true ? { kind: "reset" } : call.down());
  } catch (error) {
    give(reply, call.explain(error));
  }
}

function give(reply: FastifyReply, answer: Answer): void {
  if (answer.kind === "json") {
    if (answer.headers) reply.headers(answer.headers);
    reply.code(answer.status).header("content-type", "application/json; charset=UTF-8").send(answer.body);
    return;
  }
  if (answer.kind === "file") {
    giveFile(reply, answer);
    return;
  }
  reply.hijack();
  const socket = reply.raw.socket;
  if (answer.kind === "reset") socket?.resetAndDestroy();
  else setTimeout(() => socket?.destroy(), answer.forMs).unref();
}

function giveFile(reply: FastifyReply, { path, bytes, contentType, cutAt }: Answer & { kind: "file" }): void {
  const headers = { "content-type": contentType, "content-length": String(bytes) };
  if (cutAt === undefined) {
    reply.headers(headers).send(createReadStream(path));
    return;
  }
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, headers);
  // Unlike a reset, this sends what was written.
  const end = () => raw.socket?.destroySoon();
  createReadStream(path, { end: cutAt - 1 })
    .on("end", end)
    .on("error", end)
    .pipe(raw, { end: false });
}

const defaultSlowMs = 2_000;
const defaultSilenceMs = 30_000;

/** Why a call was not accepted though nothing is wrong with it. */
export type Refusal = "rate_limit" | "server_error" | "permanent" | "overloaded";

const refusals: readonly FaultName[] = ["connection_reset", "rate_limit", "server_error", "permanent"];

interface CallRules {
  channel: string;
  call: CallKind;
  refuse(refusal: Refusal, fault: Fault | undefined): Answer;
}

/**
 * Runs one call through the faults: it may be delayed, refused, reset, or accepted without a response.
 * `accept` validates, records and responds; it runs at most once. `to` is undefined when the call names no recipient.
 */
export async function runCall(
  { faults, webhooks }: World,
  rules: CallRules,
  to: string | undefined,
  accept: () => Answer | Promise<Answer>,
): Promise<Answer> {
  const hit = (names: readonly FaultName[]) => faults.hit(rules.channel, names, to, rules.call);
  const slow = hit(["slow"]);
  if (slow) await wait(slow.delay_ms ?? defaultSlowMs);
  const refused = hit(refusals);
  if (refused?.fault === "connection_reset")
    return rules.call === "download" ? cutOff(await accept()) : { kind: "reset" };
  if (refused) return rules.refuse(refused.fault as Refusal, refused);
  if (rules.call === "send" && webhooks.waiting >= maxWaitingForSends) return rules.refuse("overloaded", undefined);

  const answer = await accept();
  const wasAccepted = answer.kind === "file" || (answer.kind === "json" && answer.status === 200);
  if (!wasAccepted) return answer;
  const silent = hit(["timeout_after_accept"]);
  return silent ? { kind: "silence", forMs: silent.delay_ms ?? defaultSilenceMs } : answer;
}

/** The connection of a download ends after half of its bytes. */
function cutOff(answer: Answer): Answer {
  return answer.kind === "file" && answer.bytes > 1
    ? { ...answer, cutAt: Math.floor(answer.bytes / 2) }
    : { kind: "reset" };
}

export function retryAfterSeconds(fault: Fault | undefined): number {
  return fault?.retry_after_s ?? 1;
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref());
}

/**
 * Keeps what a platform got, in the journal before in memory, so before the caller gets a response.
 * `key` is unique in the channel; `promise` says in JSON which `webhooks` receipts follow (`OpenFace.promised` reads it).
 */
export function receive(
  world: World,
  message: ReceivedMessage,
  key: string,
  promise: { webhooks: number; value: unknown },
): { stored: StoredMessage; firstNumber: number } {
  const stored: StoredMessage = {
    index: world.messages.nextIndex,
    channel: message.channel,
    account: message.account,
    to: message.to,
    key,
    json: JSON.stringify(message),
  };
  const firstNumber = world.webhooks.reserve(promise.webhooks);
  world.journal.message(stored, firstNumber, promise.value);
  world.messages.add(stored);
  return { stored, firstNumber };
}
