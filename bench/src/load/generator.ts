import { startChild } from "../child.ts";
import type { GeneratorOrder } from "./generator-process.ts";
import type { ReceiptTraffic } from "./receipts.ts";
import type { Traffic } from "./requests.ts";
import type { LoadOrder, LoadResult, Pace } from "./run-load.ts";

/** The load, from its own process: the same for what is measured and for its reference. */
export interface Generator extends AsyncDisposable {
  readonly pid: number;
  /** Throws when any request was not accepted. No message of a generator is sent twice. */
  run(load: { traffic: Traffic | ReceiptTraffic; connections: number; pace: Pace }): Promise<LoadResult>;
  /** The first of so many numbers of messages, which the caller sends. */
  reserve(messages: number): number;
  /** Of a run with the pace `credit`: so many messages may have been sent in all. */
  allow(messages: number): void;
}

export async function startGenerator(): Promise<Generator> {
  const child = await startChild("./load/generator-process.ts");
  let nextMessage = 1;
  return {
    pid: child.pid,
    async run(load) {
      const order: GeneratorOrder = { kind: "run", load: { ...load, firstMessage: nextMessage } satisfies LoadOrder };
      const result = await child.ask<LoadResult>(order);
      if (result.failure !== null) throw new Error(`A request was not accepted: ${result.failure}`);
      nextMessage = result.nextMessage;
      return result;
    },
    reserve(messages) {
      nextMessage += messages;
      return nextMessage - messages;
    },
    allow: (messages) => child.post({ kind: "allow", messages } satisfies GeneratorOrder),
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}
