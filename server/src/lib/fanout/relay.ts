import { randomUUID } from "node:crypto";
import { type Clock, pause } from "../clock.ts";
import type { Log } from "../postgres.ts";
import { repeatWhenWoken } from "../repeat.ts";
import { type Fanout, maxChannelBytes, maxMessageBytes, maxWaitingMessages } from "./fanout.ts";
import { type Frame, frameHeadingBytes, headingBytes, readPayload, writePayload } from "./frames.ts";

export interface RelayOptions {
  clock: Clock;
  log: Log;
  /** The largest payload that `send` takes, in bytes of UTF-8. */
  maxPayloadBytes: number;
  /** Passes payloads on to every process, in order, all or none. May reach this one too. */
  send: (payloads: string[]) => Promise<void>;
}

/** What every engine of the fan-out shares; the engine says what arrives, and when its connection stands again. */
export interface Relay extends Fanout {
  receive(payload: string): void;
  reconnected(): void;
}

interface Waiting extends Frame {
  sizeBytes: number;
}

/** The least time between two rounds of sending: the first message leaves at once, what comes soon after shares one. */
const roundPauseMs = 5;
/** After a round that failed. */
const failurePauseMs = 500;
/** Payloads in one round. */
const maxRoundPayloads = 100;
/** How long the end waits for what is still to be passed on. */
const lastRoundsMs = 1_000;

export function openRelay({ clock, log, maxPayloadBytes, send }: RelayOptions): Relay {
  const self = randomUUID();
  const listeners = new Map<string, Set<(message: string) => void>>();
  const reconnectListeners = new Set<() => void>();
  const waiting: Waiting[] = [];
  const closing = new AbortController();
  const sending = repeatWhenWoken(clock, roundPauseMs, sendWaiting);
  let serial = 0;
  /** Messages were dropped, and the other processes do not know it yet. */
  let isLossUntold = false;
  let isFailing = false;

  function publish(channel: string, message: string): void {
    if (closing.signal.aborted) return;
    const sizeBytes = sizeOf("channel", channel, maxChannelBytes) + sizeOf("message", message, maxMessageBytes);
    queueMicrotask(() => deliver({ channel, message }));
    waiting.push({ channel, message, sizeBytes });
    if (waiting.length > maxWaitingMessages) {
      waiting.shift();
      lose("more was published than can be passed on");
    }
    sending.wake();
  }

  function lose(reason: string, error?: unknown): void {
    if (!isLossUntold) log.warn({ err: error, reason }, "fan-out: messages to other processes were dropped");
    isLossUntold = true;
  }

  async function sendWaiting(): Promise<void> {
    const isTellingLoss = isLossUntold;
    const payloads = takePayloads(isTellingLoss);
    try {
      await send(payloads);
      if (isTellingLoss) isLossUntold = false;
      if (isFailing) log.info({}, "fan-out: messages are passed on again");
      isFailing = false;
      if (waiting.length > 0 || isLossUntold) sending.wake();
    } catch (error) {
      // Sending again might say the same twice; that something is missing can be said as often as need be.
      lose("they could not be passed on", error);
      isFailing = true;
      if (closing.signal.aborted) return;
      await pause(clock, failurePauseMs, closing.signal);
      sending.wake();
    }
  }

  function takePayloads(isAfterLoss: boolean): string[] {
    const payloads: string[] = [];
    let taken = 0;
    do {
      const first = taken;
      let sizeBytes = headingBytes;
      for (; taken < waiting.length; taken += 1) {
        sizeBytes += waiting[taken]!.sizeBytes + frameHeadingBytes;
        if (sizeBytes > maxPayloadBytes) break;
      }
      serial += 1;
      const frames = waiting.slice(first, taken);
      payloads.push(writePayload({ sender: self, isAfterLoss: isAfterLoss && first === 0, frames }, serial));
    } while (taken < waiting.length && payloads.length < maxRoundPayloads);
    waiting.splice(0, taken);
    return payloads;
  }

  function deliver({ channel, message }: Frame): void {
    for (const listener of listeners.get(channel) ?? []) guarded(() => listener(message));
  }

  function reconnected(): void {
    for (const listener of reconnectListeners) guarded(listener);
  }

  function guarded(listener: () => void): void {
    if (closing.signal.aborted) return;
    try {
      listener();
    } catch (error) {
      log.error({ err: error }, "fan-out: a listener failed");
    }
  }

  return {
    publish,
    subscribe(channel, listener) {
      // The same function subscribed twice is two subscriptions.
      const own = (message: string) => listener(message);
      const others = listeners.get(channel) ?? new Set();
      listeners.set(channel, others.add(own));
      return () => {
        others.delete(own);
        if (others.size === 0 && listeners.get(channel) === others) listeners.delete(channel);
      };
    },
    onReconnect(listener) {
      const own = () => listener();
      reconnectListeners.add(own);
      return () => void reconnectListeners.delete(own);
    },
    receive(text) {
      const payload = readPayload(text);
      if (payload === null) return log.warn({ sizeBytes: text.length }, "fan-out: something foreign was heard");
      if (payload.sender === self) return;
      if (payload.isAfterLoss) reconnected();
      for (const frame of payload.frames) deliver(frame);
    },
    reconnected,
    async [Symbol.asyncDispose]() {
      closing.abort();
      await Promise.race([sending.close(), pause(clock, lastRoundsMs)]);
    },
  };
}

function sizeOf(what: string, text: string, maxBytes: number): number {
  const sizeBytes = Buffer.byteLength(text);
  if (sizeBytes > maxBytes) throw new RangeError(`A fan-out ${what} of ${sizeBytes} bytes is longer than ${maxBytes}.`);
  if (text.includes("\0")) throw new RangeError(`A fan-out ${what} cannot hold a NUL.`);
  return sizeBytes;
}
