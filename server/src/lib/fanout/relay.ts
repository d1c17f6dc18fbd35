import { randomUUID } from "node:crypto";
import { type Clock, pause } from "../clock.ts";
import type { Log } from "../postgres.ts";
import { type Repeated, repeatWhenWoken } from "../repeat.ts";
import { type Fanout, maxChannelBytes, maxMessageBytes, maxWaitingMessages } from "./fanout.ts";
import { headingBytes, type Message, messageHeadingBytes, readPayload, writePayload } from "./payload.ts";

interface RelayOptions {
  clock: Clock;
  log: Log;
  /** The largest payload that `send` accepts, in bytes of UTF-8. */
  maxPayloadBytes: number;
  /** Sends payloads to every process, in order, all or none. May reach this one too. */
  send: (payloads: string[]) => Promise<void>;
  /** Closes the connections, after the last messages were sent. */
  close?: () => Promise<void>;
}

/** The least time between two rounds of sending: the first message leaves at once, later ones share a round. */
const roundPauseMs = 5;
const failureWaitMs = 500;
const maxRoundPayloads = 100;
const lastRoundsMs = 1_000;

/** What all engines of the fan-out share. The engine calls `receive` and `reconnected`. */
export class Relay implements Fanout {
  readonly #options: RelayOptions;
  readonly #self = randomUUID();
  readonly #listeners = new Map<string, Set<(message: string) => void>>();
  readonly #reconnectListeners = new Set<() => void>();
  readonly #waiting: (Message & { sizeBytes: number })[] = [];
  readonly #closing = new AbortController();
  readonly #sending: Repeated;
  #serial = 0;
  /** Messages were dropped, and the other processes were not notified of that yet. */
  #hasLost = false;
  #isFailing = false;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#sending = repeatWhenWoken(
      options.clock,
      roundPauseMs,
      () => this.#sendWaiting(),
      (error) => {
        this.#isFailing = true;
        // A retry might send the same messages twice; that something was lost can be sent as often as needed.
        this.#noteLoss("they could not be sent", error);
      },
      failureWaitMs,
    );
  }

  publish(channel: string, message: string): void {
    if (this.#closing.signal.aborted) return;
    const sizeBytes = sizeOf("channel", channel, maxChannelBytes) + sizeOf("message", message, maxMessageBytes);
    queueMicrotask(() => this.#deliver({ channel, message }));
    this.#waiting.push({ channel, message, sizeBytes });
    if (this.#waiting.length > maxWaitingMessages) {
      this.#waiting.shift();
      this.#noteLoss("more was published than can be sent");
    }
    this.#sending.wake();
  }

  subscribe(channel: string, listener: (message: string) => void): () => void {
    const own = (message: string) => listener(message);
    const others = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, others.add(own));
    return () => {
      others.delete(own);
      if (others.size === 0 && this.#listeners.get(channel) === others) this.#listeners.delete(channel);
    };
  }

  onReconnect(listener: () => void): () => void {
    const own = () => listener();
    this.#reconnectListeners.add(own);
    return () => void this.#reconnectListeners.delete(own);
  }

  receive(text: string): void {
    const payload = readPayload(text);
    if (payload === null) {
      this.#options.log.warn({ sizeBytes: text.length }, "fan-out: a payload of another program was ignored");
    } else if (payload.sender !== this.#self) {
      if (payload.isAfterLoss) this.reconnected();
      for (const message of payload.messages) this.#deliver(message);
    }
  }

  reconnected(): void {
    for (const listener of this.#reconnectListeners) this.#guard(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await Promise.race([this.#sending.close(), pause(this.#options.clock, lastRoundsMs)]);
    await this.#options.close?.();
  }

  async #sendWaiting(): Promise<void> {
    const { send, log } = this.#options;
    const isAfterLoss = this.#hasLost;
    await send(this.#takePayloads(isAfterLoss));
    if (isAfterLoss) this.#hasLost = false;
    if (this.#isFailing) log.info({}, "fan-out: messages are sent again");
    this.#isFailing = false;
    if (this.#waiting.length > 0 || this.#hasLost) this.#sending.wake();
  }

  #takePayloads(isAfterLoss: boolean): string[] {
    const waiting = this.#waiting;
    const payloads: string[] = [];
    let taken = 0;
    do {
      const first = taken;
      let sizeBytes = headingBytes;
      for (; taken < waiting.length; taken += 1) {
        sizeBytes += waiting[taken]!.sizeBytes + messageHeadingBytes;
        if (sizeBytes > this.#options.maxPayloadBytes) break;
      }
      this.#serial += 1;
      const messages = waiting.slice(first, taken);
      const payload = { sender: this.#self, isAfterLoss: isAfterLoss && first === 0, messages };
      payloads.push(writePayload(payload, this.#serial));
    } while (taken < waiting.length && payloads.length < maxRoundPayloads);
    waiting.splice(0, taken);
    return payloads;
  }

  #noteLoss(reason: string, error?: unknown): void {
    if (!this.#hasLost) {
      this.#options.log.warn({ err: error, reason }, "fan-out: messages to other processes were dropped");
    }
    this.#hasLost = true;
  }

  #deliver({ channel, message }: Message): void {
    for (const listener of this.#listeners.get(channel) ?? []) this.#guard(() => listener(message));
  }

  #guard(call: () => void): void {
    if (this.#closing.signal.aborted) return;
    try {
      call();
    } catch (error) {
      this.#options.log.error({ err: error }, "fan-out: a listener failed");
    }
  }
}

function sizeOf(what: string, text: string, maxBytes: number): number {
  const sizeBytes = Buffer.byteLength(text);
  if (sizeBytes > maxBytes) throw new RangeError(`A fan-out ${what} of ${sizeBytes} bytes is longer than ${maxBytes}.`);
  if (text.includes("\0")) throw new RangeError(`A fan-out ${what} cannot contain NUL.`);
  return sizeBytes;
}
