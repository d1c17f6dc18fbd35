/**
 * Checks the fate of every message against the promises: nothing accepted is lost, nothing arrives that was not sent, a
 * repetition follows an attempt without a response, order is by `seq`, and no status moves back.
 *
 * Pure. Observations may be reported in any interleaving; only the order of `received` calls of one recipient and of
 * `status` calls of one delivery counts. Time and memory are linear in them; a million messages are fine.
 */
export interface Checker {
  /** A 202. Repeating it, as for a retry, changes nothing. */
  accepted(message: AcceptedMessage): void;
  /** Sent without a response: it may be received or not. */
  maybeAccepted(message: MaybeAccepted): void;
  /** A platform got it for this person. */
  received(receipt: { recipient: string; key: string; at?: string | number }): void;
  /** An attempt at it ended without a response: the recipient may get it once more than once. */
  unknownAttempt(attempt: { recipient: string; key: string }): void;
  /** The next status of a delivery. `isReplay` starts it again, as the replay of a dead letter does. */
  status(change: { deliveryId: string; status: string; isReplay?: boolean; at?: string | number }): void;
  report(): Report;
}

type AcceptedMessage = {
  conversation: string;
  seq: number;
  messageId: string;
  /** Everyone who must get it, as `received` will name them. */
  recipients: readonly string[];
} & MessageKey;

type MaybeAccepted = { conversation: string; recipients: readonly string[] } & MessageKey;

/** By what a received message is recognised: unique among all that a recipient gets. */
type MessageKey = { key: string } | { text: string };

/** `ok` when all lists but `excusedDuplicates` are empty. Lists hold the first few; `counts` counts them all. */
export interface Report {
  ok: boolean;
  lost: { conversation: string; seq: number; messageId: string; recipient: string; key: string }[];
  unexpected: { recipient: string; key: string }[];
  duplicated: { recipient: string; key: string; times: number; unknownAttempts: number }[];
  excusedDuplicates: { recipient: string; key: string; times: number; unknownAttempts: number }[];
  /** First receipts after one of a higher `seq` of the same conversation. */
  outOfOrder: { conversation: string; recipient: string; seq: number; after: number; key: string }[];
  movedBack: { deliveryId: string; from: string; to: string }[];
  gaps: { conversation: string; seq: number; problem: "missing" | "given twice" | "changed" }[];
  counts: {
    /** Messages. */
    accepted: number;
    /** Messages × recipients. */
    expected: number;
    /** Receipts, duplicates included. */
    received: number;
    statuses: number;
  } & Record<Finding, number>;
}

type Finding = "lost" | "unexpected" | "duplicated" | "excusedDuplicates" | "outOfOrder" | "movedBack" | "gaps";

/** Findings of a kind that a report holds. */
export const listLength = 20;

interface Message {
  conversation: string;
  seq: number;
  messageId: string;
}

/** One key for one recipient. */
interface Delivery {
  /** Null until it was accepted, which may be after it was received. */
  message: Message | null;
  isMaybe: boolean;
  times: number;
  unknownAttempts: number;
}

interface Recipient {
  deliveries: Map<string, Delivery>;
  /** Keys in the order of their first receipts. */
  order: string[];
}

interface Conversation {
  /** Index is the `seq`; 1 where it was given. */
  given: Uint8Array;
  last: number;
  count: number;
  /** Keys that may have been accepted: each may be a `seq` without a 202. */
  maybe: Set<string>;
}

/** How far a status is. `failed` may follow `sent`, and a late receipt may still be `delivered`. */
const ranks: Readonly<Record<string, number>> = {
  accepted: 0,
  in_transit: 1,
  sent: 2,
  failed: 3,
  delivered: 4,
  read: 5,
};

export function openChecker(): Checker {
  const recipients = new Map<string, Recipient>();
  const conversations = new Map<string, Conversation>();
  const messages = new Map<string, Message>();
  const statuses = new Map<string, string>();
  const movedBack = openList<Report["movedBack"][number]>();
  const seqProblems = openList<Report["gaps"][number]>();
  let expected = 0;
  let received = 0;
  let statusCount = 0;

  function recipientOf(name: string): Recipient {
    return getOrMake(recipients, name, () => ({ deliveries: new Map(), order: [] }));
  }

  function deliveryOf(recipient: Recipient, key: string): Delivery {
    const make = () => ({ message: null, isMaybe: false, times: 0, unknownAttempts: 0 });
    return getOrMake(recipient.deliveries, key, make);
  }

  function conversationOf(name: string): Conversation {
    return getOrMake(conversations, name, () => ({ given: new Uint8Array(16), last: 0, count: 0, maybe: new Set() }));
  }

  return {
    accepted(accepted) {
      const { conversation, seq, messageId } = accepted;
      const key = keyOf(accepted);
      const known = messages.get(messageId);
      if (known !== undefined) {
        const isSame = known.seq === seq && known.conversation === conversation;
        if (!isSame) seqProblems.add({ conversation, seq, problem: "changed" });
        return;
      }
      const message = { conversation, seq, messageId };
      messages.set(messageId, message);
      const place = conversationOf(conversation);
      place.maybe.delete(key);
      if (!give(place, seq)) seqProblems.add({ conversation, seq, problem: "given twice" });
      for (const name of accepted.recipients) {
        expected += 1;
        deliveryOf(recipientOf(name), key).message = message;
      }
    },
    maybeAccepted(maybe) {
      const key = keyOf(maybe);
      const isKnown = maybe.recipients.some((name) => recipients.get(name)?.deliveries.get(key)?.message != null);
      if (!isKnown) conversationOf(maybe.conversation).maybe.add(key);
      for (const name of maybe.recipients) deliveryOf(recipientOf(name), key).isMaybe = true;
    },
    received({ recipient: name, key }) {
      received += 1;
      const recipient = recipientOf(name);
      const delivery = deliveryOf(recipient, key);
      delivery.times += 1;
      if (delivery.times === 1) recipient.order.push(key);
    },
    unknownAttempt({ recipient, key }) {
      deliveryOf(recipientOf(recipient), key).unknownAttempts += 1;
    },
    status({ deliveryId, status, isReplay }) {
      statusCount += 1;
      const from = statuses.get(deliveryId);
      statuses.set(deliveryId, status);
      if (from === undefined || isReplay) return;
      if (rankOf(status) < rankOf(from)) movedBack.add({ deliveryId, from, to: status });
    },
    report() {
      const found = checkDeliveries(recipients);
      const gaps = openList(seqProblems);
      for (const [name, conversation] of conversations) findMissing(name, conversation, gaps);
      const lists = { ...found, movedBack, gaps };
      const failures = [lists.lost, lists.unexpected, lists.duplicated, lists.outOfOrder, movedBack, gaps];
      return {
        ok: failures.every((list) => list.count === 0),
        lost: lists.lost.first,
        unexpected: lists.unexpected.first,
        duplicated: lists.duplicated.first,
        excusedDuplicates: lists.excusedDuplicates.first,
        outOfOrder: lists.outOfOrder.first,
        movedBack: movedBack.first,
        gaps: gaps.first,
        counts: {
          accepted: messages.size,
          expected,
          received,
          statuses: statusCount,
          lost: lists.lost.count,
          unexpected: lists.unexpected.count,
          duplicated: lists.duplicated.count,
          excusedDuplicates: lists.excusedDuplicates.count,
          outOfOrder: lists.outOfOrder.count,
          movedBack: movedBack.count,
          gaps: gaps.count,
        },
      };
    },
  };
}

function checkDeliveries(recipients: ReadonlyMap<string, Recipient>) {
  const lost = openList<Report["lost"][number]>();
  const unexpected = openList<Report["unexpected"][number]>();
  const duplicated = openList<Report["duplicated"][number]>();
  const excusedDuplicates = openList<Report["excusedDuplicates"][number]>();
  const outOfOrder = openList<Report["outOfOrder"][number]>();
  for (const [recipient, { deliveries, order }] of recipients) {
    for (const [key, { message, isMaybe, times, unknownAttempts }] of deliveries) {
      if (times === 0 && message !== null) lost.add({ ...message, recipient, key });
      if (times > 0 && message === null && !isMaybe) unexpected.add({ recipient, key });
      if (times < 2) continue;
      const list = times - 1 > unknownAttempts ? duplicated : excusedDuplicates;
      list.add({ recipient, key, times, unknownAttempts });
    }
    const reached = new Map<string, number>();
    for (const key of order) {
      const { message } = deliveries.get(key)!;
      if (message === null) continue;
      const { conversation, seq } = message;
      const after = reached.get(conversation) ?? 0;
      if (seq < after) outOfOrder.add({ conversation, recipient, seq, after, key });
      else reached.set(conversation, seq);
    }
  }
  return { lost, unexpected, duplicated, excusedDuplicates, outOfOrder };
}

/** Missing numbers may be those of `maybeAccepted` messages; only more than those are gaps. */
function findMissing(
  name: string,
  { given, last, count, maybe }: Conversation,
  gaps: List<Report["gaps"][number]>,
): void {
  let unexplained = Math.max(0, last - count) - maybe.size;
  for (let seq = 1; seq <= last && unexplained > 0; seq += 1) {
    if (given[seq] === 1) continue;
    gaps.add({ conversation: name, seq, problem: "missing" });
    unexplained -= 1;
  }
}

/** False when the `seq` was given before. */
function give(conversation: Conversation, seq: number): boolean {
  if (!Number.isSafeInteger(seq) || seq < 1) throw new RangeError(`A seq is 1 or more, ${seq} is not.`);
  if (seq >= conversation.given.length) {
    const grown = new Uint8Array(Math.max(seq + 1, conversation.given.length * 2));
    grown.set(conversation.given);
    conversation.given = grown;
  }
  if (conversation.given[seq] === 1) return false;
  conversation.given[seq] = 1;
  conversation.count += 1;
  conversation.last = Math.max(conversation.last, seq);
  return true;
}

function keyOf(message: MessageKey): string {
  return "key" in message ? message.key : message.text;
}

function rankOf(status: string): number {
  const rank = ranks[status];
  if (rank === undefined) throw new RangeError(`"${status}" is no status.`);
  return rank;
}

interface List<Item> {
  first: Item[];
  count: number;
  add(item: Item): void;
}

function openList<Item>(from?: List<Item>): List<Item> {
  return {
    first: from === undefined ? [] : [...from.first],
    count: from?.count ?? 0,
    add(item) {
      this.count += 1;
      if (this.first.length < listLength) this.first.push(item);
    },
  };
}

function getOrMake<Value>(map: Map<string, Value>, key: string, make: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
