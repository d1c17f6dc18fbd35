import { randomUUID } from "node:crypto";
import type { Clock } from "../clock.ts";
import { repeatWhenWoken } from "../repeat.ts";
import type { Fanout } from "./fanout.ts";

/** Notifies all processes that something has changed, by a key such as its id; at most once. */
export interface Notifier {
  /** Calls the listeners of this process now. The others are notified within milliseconds, once for equal keys. */
  notify(key: string): void;
  /** The listener gets a key; null when anything may have changed. Returns a function that unsubscribes. */
  subscribe(listener: (key: string | null) => void): () => void;
}

/** The least time between two messages to the other processes; the first leaves at once. */
const pauseMs = 5;
/** Keys in one message. With more, the message has none: anything may have changed. */
const maxKeys = 150;

/** Keys have no spaces and at most 40 bytes. */
export function openNotifier({ fanout, clock, channel }: { fanout: Fanout; clock: Clock; channel: string }): Notifier {
  const self = randomUUID();
  const listeners = new Set<(key: string | null) => void>();
  const waiting = new Set<string>();
  const notifyHere = (key: string | null) => {
    for (const listener of listeners) listener(key);
  };
  const publishing = repeatWhenWoken(clock, pauseMs, async () => {
    const keys = waiting.size > maxKeys ? [] : [...waiting];
    waiting.clear();
    fanout.publish(channel, [self, ...keys].join(" "));
  });
  fanout.onReconnect(() => notifyHere(null));
  fanout.subscribe(channel, (message) => {
    const [sender, ...keys] = message.split(" ");
    if (sender === self) return;
    if (keys.length === 0) notifyHere(null);
    for (const key of keys) notifyHere(key);
  });
  return {
    notify(key) {
      notifyHere(key);
      waiting.add(key);
      publishing.wake();
    },
    subscribe(listener) {
      const own = (key: string | null) => listener(key);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
  };
}
