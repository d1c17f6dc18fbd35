import type { OpenFace } from "../face.ts";
import { keptMessages } from "../messages.ts";
import type { WebhookEvent } from "../webhooks/event.ts";
import type { World } from "../world.ts";
import type { JournalLine } from "./journal.ts";

/**
 * Reads the journal into an empty world. Webhooks that no receiver had taken are `waiting`, and part of every snapshot,
 * until `resume` schedules them again.
 */
export function restore(
  world: World,
  faces: ReadonlyMap<string, OpenFace>,
  putAccount: (fields: Readonly<Record<string, unknown>>) => void,
): { resume: () => void; waiting: () => Iterable<WebhookEvent> } {
  const waiting = new Map<number, WebhookEvent>();
  const promise = (event: WebhookEvent) => {
    waiting.set(event.number, event);
    world.webhooks.skipTo(event.number + 1);
  };
  for (const line of world.journal.read()) {
    const face = faces.get(channelOf(line) ?? "");
    if (line.type === "message") {
      if (!world.messages.replace(line.message)) world.messages.add(line.message);
      face?.remember({ message: line.message });
      if (line.promise !== null) face?.promised(line.message, line.firstNumber, line.promise).forEach(promise);
    } else if (line.type === "webhook") {
      face?.remember({ webhook: line.event });
      promise(line.event);
    } else if (line.type === "accepted") {
      for (const number of line.numbers) waiting.delete(number);
    } else if (line.type === "media") {
      world.media.restore(line.media);
    } else if (line.type === "account") {
      putAccount(line.fields);
    } else if (line.type === "state") {
      face?.restoreState(line.state);
    } else {
      world.messages.skipTo(line.nextIndex);
      world.webhooks.skipTo(line.nextNumber);
    }
  }
  return {
    resume() {
      for (const event of waiting.values()) world.webhooks.promise(event);
      waiting.clear();
    },
    waiting: () => waiting.values(),
  };
}

export function* snapshot(
  world: World,
  faces: ReadonlyMap<string, OpenFace>,
  waiting: Iterable<WebhookEvent>,
): Generator<JournalLine> {
  yield { type: "counters", nextIndex: world.messages.nextIndex, nextNumber: world.webhooks.nextNumber };
  for (const account of world.accounts.list()) yield { type: "account", fields: account.fields };
  for (const [channel, face] of faces) yield { type: "state", channel, state: face.saveState() };
  for (const media of world.media.list()) yield { type: "media", media };
  for (const message of world.messages.latest(keptMessages).reverse()) {
    yield { type: "message", message, firstNumber: 0, promise: null };
  }
  for (const event of waiting) yield { type: "webhook", event };
  for (const event of world.webhooks.pending()) yield { type: "webhook", event };
}

function channelOf(line: JournalLine): string | undefined {
  if (line.type === "message") return line.message.channel;
  if (line.type === "webhook") return line.event.channel;
  return line.type === "state" ? line.channel : undefined;
}
