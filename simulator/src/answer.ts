import type { FastifyReply } from "fastify";
import type { Fault } from "./faults.ts";
import { beforeCall } from "./sending.ts";
import type { World } from "./world.ts";

/** How a platform ends a call. */
export type Answer =
  | { kind: "json"; status: number; body: string; headers?: Record<string, string> }
  /** The socket is destroyed at once. */
  | { kind: "reset" }
  /** Nothing is said for so long, then the socket is destroyed. */
  | { kind: "silence"; forMs: number };

/** A JSON answer. */
export function json(status: number, body: unknown, headers?: Record<string, string>): Answer {
  const answer = { kind: "json" as const, status, body: JSON.stringify(body) };
  return headers ? { ...answer, headers } : answer;
}

/** How a platform takes one call. */
export interface Call {
  run: () => Answer | Promise<Answer>;
  /** The platform's own words for what `run` threw, or for being `down`. */
  explain: (error: unknown) => Answer;
  down: () => Answer;
}

/** Takes a call: waits out the latency, plays `down`, runs it, and gives the answer. Never throws. */
export function takeCall(world: World, channel: string, reply: FastifyReply, call: Call): void {
  const runUnless = (down: Fault | undefined) => {
    if (down) return down.destroy === true ? { kind: "reset" as const } : call.down();
    return call.run();
  };
  const fail = (error: unknown) => give(reply, call.explain(error));
  try {
    const before = beforeCall(world, channel);
    const answer = before instanceof Promise ? before.then(runUnless) : runUnless(before);
    if (answer instanceof Promise) answer.then((late) => give(reply, late)).catch(fail);
    else give(reply, answer);
  } catch (error) {
    fail(error);
  }
}

function give(reply: FastifyReply, answer: Answer): void {
  if (answer.kind === "json") {
    if (answer.headers) reply.headers(answer.headers);
    reply.code(answer.status).header("content-type", "application/json; charset=UTF-8").send(answer.body);
    return;
  }
  reply.hijack();
  const socket = reply.raw.socket;
  if (answer.kind === "reset") socket?.resetAndDestroy();
  else setTimeout(() => socket?.destroy(), answer.forMs).unref();
}
