import type { Bus } from "../bus/bus.ts";
import { isConnected } from "../channel-accounts/channel-accounts.ts";
import { acceptedEvent } from "../events/events.ts";
import { commitsEarly, isDurable, queryEarly } from "../lib/early-commit.ts";
import type { ConversationId, MessageId } from "../lib/ids.ts";
import { canonicalJson } from "../lib/json.ts";
import { isUniqueViolation, type Pool } from "../lib/postgres.ts";
import { all, type Db, joinTexts, plainArray, splitTexts } from "../lib/query.ts";

/** Routes some messages in the statement that accepts them. */
export interface RoutePlan {
  /** Of these conversations: their messages are routed here if all before them were. */
  readonly conversations: Pick<ReadonlyMap<string, unknown>, "has">;
  /** Each message is planned, reaches somebody, and is from a member: nothing else needs to be checked. */
  readonly isWhole: boolean;
  /**
   * SQL: the parts `planned` and `published (started, channel)` of the statement. They read `moved (conversation_id, base,
   * is_routed)`, and append the events of the query `accepted`. Their parameters begin at `$first`.
   */
  readonly text: (first: number, accepted: string) => string;
  readonly values: readonly unknown[];
  /** After the commit: starts what it started, and wakes the lanes of the others. */
  written(rows: readonly RoutedRow[]): void;
  /** After an error: it may have committed. */
  failed(error: unknown): void;
}

export interface RoutedRow {
  started: string | null;
  channel: string | null;
}

export interface MessageRouter {
  /** Of one workspace. Null: the step routes all. */
  plan(messages: readonly NewMessage[], now: Date): Promise<RoutePlan | null>;
}

export interface NewMessage {
  workspaceId: string;
  messageId: MessageId;
  conversationId: ConversationId;
  senderId: string;
  /** False when the caller was already authorised to write in any conversation. */
  mustBeMember: boolean;
  direction: "outbound" | "inbound";
  payload: string;
  /** Separated by commas; `*` for all; null for each recipient's default. */
  channels: string | null;
  options: string | null;
  /** The address in its stored form; null for a message that names its conversation. */
  to: string | null;
  replyTo: MessageId | null;
  reactsTo: MessageId | null;
  /** Members may read the file of the payload from then on. */
  hasFile?: boolean;
  metadata: string | null;
  origin: string | null;
}

/** No such conversation, a sender or quoted message outside of it, or no recipient with an address. */
export type Refusal = "conversation" | "sender" | "reply_to" | "reacts_to" | "route";

export type Written =
  | { kind: "accepted"; seq: number; createdAt: Date; conversationId: ConversationId }
  | {
      kind: "known";
      seq: number;
      createdAt: Date;
      conversationId: ConversationId;
      isSame: (message: NewMessage) => boolean;
    }
  | { kind: "refused"; why: Refusal };

/**
 * Writes messages with distinct ids, in one transaction and one round trip if all are new and valid. Otherwise it finds
 * those that are known or refused, and writes the others without them and without the plan. Returns one result for each,
 * in order. Safe to call again after an error: written messages are then known.
 */
export async function writeMessages(
  db: Pool,
  bus: Pick<Bus, "partitionOf">,
  topic: string,
  messages: readonly NewMessage[],
  now: Date,
  plan: RoutePlan | null,
): Promise<WrittenMessages> {
  const written = new Map<NewMessage, Written>();
  const routed: RoutedRow[] = [];
  let isQueued = false;
  let left = messages;
  while (left.length > 0) {
    const tried = await tryToWrite(db, bus, topic, left, now, left === messages ? plan : null);
    for (const [message, result] of tried.settled) written.set(message, result);
    routed.push(...tried.routed);
    isQueued ||= tried.isQueued;
    left = left.filter((message) => !tried.settled.has(message));
  }
  return { results: messages.map((message) => written.get(message)!), routed, isQueued };
}

interface WrittenMessages {
  results: Written[];
  routed: RoutedRow[];
  /** Some wait for the step `route`. */
  isQueued: boolean;
}

interface Tried {
  settled: Map<NewMessage, Written>;
  routed: RoutedRow[];
  isQueued: boolean;
}

/** Returns results for all messages, or for those that prevent writing the others: at least one, or it throws. */
async function tryToWrite(
  db: Pool,
  bus: Pick<Bus, "partitionOf">,
  topic: string,
  messages: readonly NewMessage[],
  now: Date,
  plan: RoutePlan | null,
): Promise<Tried> {
  const notWritten = (settled: Map<NewMessage, Written>) => ({ settled, routed: [], isQueued: false });
  try {
    const inserted = await insertMessages(db, bus, topic, messages, now, plan);
    if (inserted.kind === "written") return { ...inserted, settled: acceptedResults(messages, inserted.seqs, now) };
    // A message that was accepted before gets the same response again, even if it would be refused now.
    const known = await findKnown(db, [...inserted.why.keys()]);
    const refused = [...inserted.why].map(
      ([message, why]) => [message, known.get(message) ?? { kind: "refused", why }] as const,
    );
    return notWritten(new Map<NewMessage, Written>(refused));
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    const known = await findKnown(db, messages);
    // None: another process had written one of them and rolled back since.
    if (known.size === 0) throw error;
    return notWritten(known);
  }
}

function acceptedResults(messages: readonly NewMessage[], seqs: readonly number[], createdAt: Date) {
  return new Map<NewMessage, Written>(
    messages.map((message, index) => {
      const { conversationId } = message;
      return [message, { kind: "accepted", seq: seqs[index]!, createdAt, conversationId }];
    }),
  );
}

export interface AcceptedBefore {
  conversationId: ConversationId;
  to: string | null;
}

export async function findAccepted(
  db: Db,
  workspaceId: string,
  messageIds: readonly string[],
): Promise<Map<string, AcceptedBefore>> {
  const rows = await all<AcceptedBefore & { id: string }>(
    db,
    `SELECT message_id AS id, conversation_id AS "conversationId", options ->> 'to' AS "to", ${isDurable} FROM messages
     WHERE workspace_id = $1 AND message_id = ANY ($2)`,
    [workspaceId, messageIds],
  );
  return new Map(rows.map(({ id, ...place }) => [id, place]));
}

interface KnownRow {
  place: number;
  seq: number;
  created_at: Date;
  conversation_id: ConversationId;
  sender_id: string;
  payload: unknown;
  channels: string | null;
  options: { to?: string } | null;
  reply_to: MessageId | null;
  metadata: unknown;
}

async function findKnown(db: Db, messages: readonly NewMessage[]): Promise<Map<NewMessage, Written>> {
  const rows = await all<KnownRow>(
    db,
    `SELECT i.place, m.seq, m.created_at, m.conversation_id, m.sender_id, m.payload, m.channels, m.options, m.reply_to,
       m.metadata, ${isDurable}
     FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS i (workspace_id, message_id, place)
     JOIN messages m USING (workspace_id, message_id)`,
    [messages.map((message) => message.workspaceId), messages.map((message) => message.messageId)],
  );
  return new Map<NewMessage, Written>(
    rows.map((row) => {
      const { place, seq, created_at: createdAt, conversation_id: conversationId } = row;
      let content: Content | undefined;
      const isSame = (message: NewMessage) => {
        content ??= contentOf(row);
        return isSameMessage(message, content);
      };
      return [messages[place - 1]!, { kind: "known", seq, createdAt, conversationId, isSame }];
    }),
  );
}

type Content = Pick<
  NewMessage,
  "conversationId" | "senderId" | "channels" | "options" | "to" | "replyTo" | "payload" | "metadata"
>;

function contentOf(row: KnownRow): Content {
  const { to = null, ...options } = row.options ?? {};
  return {
    conversationId: row.conversation_id,
    senderId: row.sender_id,
    channels: row.channels,
    options: Object.keys(options).length === 0 ? null : canonicalJson(options),
    to,
    replyTo: row.reply_to,
    payload: canonicalJson(row.payload)!,
    metadata: row.metadata === null ? null : canonicalJson(row.metadata),
  };
}

/**
 * An inbound message is identified by its id alone, which is derived from the platform's: each webhook for it has
 * another origin. The JSON of an outbound message is canonical, so texts are compared: a batch may repeat one id a
 * thousand times.
 */
export function isSameMessage(message: NewMessage, known: Content): boolean {
  if (message.direction === "inbound") return true;
  const isSamePlace =
    message.conversationId === known.conversationId || (message.to !== null && message.to === known.to);
  return (
    isSamePlace &&
    message.senderId === known.senderId &&
    message.channels === known.channels &&
    message.replyTo === known.replyTo &&
    message.options === known.options &&
    message.payload === known.payload &&
    message.metadata === known.metadata
  );
}

type Inserted =
  | { kind: "written"; seqs: number[]; routed: RoutedRow[]; isQueued: boolean }
  | { kind: "refused"; why: Map<NewMessage, Refusal> };

/** Messages that are written or refused alike: the same sender in the same conversation, to the same channels. */
interface Case {
  example: NewMessage;
  messages: NewMessage[];
}

/**
 * Writes the messages and their outbox records, and takes the next `seq`s of their conversations, in one round trip and
 * in the given order. Checks each case once, not each message. All or nothing: throws `unique_violation` when one of
 * the ids is known.
 */
async function insertMessages(
  db: Pool,
  bus: Pick<Bus, "partitionOf">,
  topic: string,
  messages: readonly NewMessage[],
  now: Date,
  plan: RoutePlan | null,
): Promise<Inserted> {
  const quotes = quotesOf(messages);
  const steps = countSteps(messages);
  const conversations = [...steps.counts.keys()].sort();
  const isChecked = plan === null || !plan.isWhole || quotes.length > 0;
  const hasFiles = messages.some(({ hasFile }) => hasFile === true);
  const cases = isChecked ? casesOf(messages) : [];
  const { rows } = await queryEarly<InsertedRow>(db, {
    ...statementFor(plan, isChecked, hasFiles),
    values: [
      now,
      topic,
      plainArray(conversations.map((conversationId) => bus.partitionOf(conversationId))),
      plainArray(conversations.map((conversationId) => plan?.conversations.has(conversationId) ?? false)),
      plainArray(conversations),
      plainArray(conversations.map((conversationId) => steps.counts.get(conversationId))),
      plainArray(steps.ofMessages),
      ...columns(messages),
      messages.map(({ conversationId, messageId }) => acceptedEvent(conversationId, messageId)).join(),
      ...(isChecked ? checkValues(cases, quotes) : []),
      ...(plan?.values ?? []),
    ],
  });
  const why = new Map<NewMessage, Refusal>();
  for (const row of rows) {
    if (row.why === null) continue;
    const place = row.place - 1;
    const blamed =
      row.why === "reply_to" || row.why === "reacts_to" ? [quotes[place]!.message] : cases[place]!.messages;
    for (const message of blamed) if (!why.has(message)) why.set(message, row.why);
  }
  if (why.size > 0) return { kind: "refused", why };
  const moved = rows.filter((row) => row.conversation_id !== null);
  const bases = new Map(moved.map((row) => [row.conversation_id!, row.base]));
  const seqs = messages.map(({ conversationId }, index) => bases.get(conversationId)! + steps.ofMessages[index]!);
  const routed = rows.filter((row) => row.channel !== null);
  return { kind: "written", seqs, routed, isQueued: moved.some((row) => !row.is_routed) };
}

function checkValues(cases: readonly Case[], quotes: readonly Quote[]): unknown[] {
  return [
    plainArray(cases.map(({ example }) => example.workspaceId)),
    plainArray(cases.map(({ example }) => example.conversationId)),
    plainArray(cases.map(({ example }) => example.senderId)),
    plainArray(cases.map(({ example }) => example.mustBeMember)),
    plainArray(cases.map(({ example }) => example.direction === "outbound")),
    cases.map(({ example }) => example.channels),
    quotes.map(({ message }) => message.workspaceId),
    quotes.map(({ message }) => message.conversationId),
    quotes.map(({ messageId }) => messageId),
    quotes.map(({ why }) => why),
  ];
}

interface InsertedRow extends RoutedRow {
  conversation_id: string | null;
  base: number;
  is_routed: boolean;
  place: number;
  why: Refusal | null;
}

function casesOf(messages: readonly NewMessage[]): Case[] {
  const cases = new Map<string, Case>();
  for (const message of messages) {
    const { workspaceId, conversationId, senderId, mustBeMember, direction, channels } = message;
    const key = `${workspaceId}${conversationId}${senderId}${mustBeMember}${direction}${channels}`;
    const known = cases.get(key);
    if (known === undefined) cases.set(key, { example: message, messages: [message] });
    else known.messages.push(message);
  }
  return [...cases.values()];
}

interface Quote {
  message: NewMessage;
  messageId: MessageId;
  why: Refusal;
}

/** Messages that others of this batch refer to, without those that come before them in it. */
function quotesOf(messages: readonly NewMessage[]): Quote[] {
  const quoting = messages.filter(({ replyTo, reactsTo }) => replyTo !== null || reactsTo !== null);
  if (quoting.length === 0) return [];
  const placeOf = new Map(
    messages.map(({ conversationId, messageId }, place) => [`${conversationId}/${messageId}`, place]),
  );
  return quoting.flatMap((message) => {
    const place = placeOf.get(`${message.conversationId}/${message.messageId}`)!;
    const comesBefore = (messageId: MessageId) =>
      (placeOf.get(`${message.conversationId}/${messageId}`) ?? Number.POSITIVE_INFINITY) < place;
    return (
      [
        ["reply_to", message.replyTo],
        ["reacts_to", message.reactsTo],
      ] as const
    ).flatMap(([why, messageId]) =>
      messageId === null || comesBefore(messageId) ? [] : [{ message, messageId, why }],
    );
  });
}

/** The places of messages among those of the same conversation, from 1. */
export function countSteps(messages: readonly NewMessage[]): { counts: Map<string, number>; ofMessages: number[] } {
  const counts = new Map<string, number>();
  const ofMessages = messages.map(({ conversationId }) => {
    const step = (counts.get(conversationId) ?? 0) + 1;
    counts.set(conversationId, step);
    return step;
  });
  return { counts, ofMessages };
}

const plain = ["messageId", "workspaceId", "conversationId", "senderId", "direction"] as const;
const seldom = ["channels", "options", "replyTo", "metadata", "origin"] as const;

/** One array for each column; `unnest` reads an empty one as nulls. */
function columns(messages: readonly NewMessage[]): unknown[] {
  return [
    ...plain.map((key) => plainArray(messages.map((message) => message[key]))),
    joinTexts(messages.map((message) => message.payload)),
    ...seldom.map((key) => {
      const values = messages.map((message) => (key === "options" ? storedOptions(message) : message[key]));
      return values.some((value) => value !== null) ? values : [];
    }),
  ];
}

/** `to` is stored beside `via` and `fallback`, which are never an empty object. */
function storedOptions({ options, to }: NewMessage): string | null {
  if (to === null) return options;
  const field = `"to":${JSON.stringify(to)}`;
  return options === null ? `{${field}}` : `{${field},${options.slice(1)}`;
}

const ownParameters = 19;
const checkParameters = 10;

/** A query `published (started, channel)` in which nothing is routed. */
const published = (accepted: string) => `published AS MATERIALIZED (
  SELECT NULL::uuid AS started, NULL AS channel
  FROM (SELECT append_events(ARRAY[a.workspace_id], ARRAY[a.event_count], ARRAY[a.events]) FROM (${accepted}) a) p
)`;

function statementFor(plan: RoutePlan | null, isChecked: boolean, hasFiles: boolean): { name: string; text: string } {
  const route = plan?.text(ownParameters + (isChecked ? checkParameters : 0) + 1, accepted) ?? published(accepted);
  return {
    name: `insert_messages${plan === null ? "" : "_and_route"}${isChecked ? "" : "_as_planned"}${hasFiles ? "_with_files" : ""}`,
    text: `WITH ${isChecked ? `${checks}, ` : ""}${writes(isChecked, hasFiles)}${hasFiles ? shared : ""}, ${route}, ${result(isChecked)}`,
  };
}

// Scalar subqueries are index look-ups in any plan.
const checks = `
cases AS MATERIALIZED (
  SELECT * FROM unnest($20::uuid[], $21::uuid[], $22::uuid[], $23::boolean[], $24::boolean[], $25::text[]) WITH ORDINALITY
    AS c (workspace_id, conversation_id, sender_id, must_be_member, must_reach, channels, place)
), connected AS MATERIALIZED (
  SELECT workspace_id, array_agg(DISTINCT channel) AS channels FROM channel_accounts
  WHERE workspace_id IN (SELECT workspace_id FROM cases) AND ${isConnected}
  GROUP BY workspace_id
), refused AS MATERIALIZED (
  SELECT place, why FROM (
    SELECT i.place, CASE
      WHEN (
        SELECT true FROM conversations c WHERE c.conversation_id = i.conversation_id AND c.workspace_id = i.workspace_id
      ) IS NULL THEN 'conversation'
      WHEN i.must_be_member AND (
        SELECT true FROM members m WHERE m.conversation_id = i.conversation_id AND m.participant_id = i.sender_id
      ) IS NULL THEN 'sender'
      WHEN i.must_reach AND (
        SELECT true FROM members m
        WHERE m.conversation_id = i.conversation_id AND m.participant_id <> i.sender_id AND (
          SELECT true FROM addresses a
          WHERE a.participant_id = m.participant_id AND a.channel = ANY (n.channels)
            AND (i.channels IS NULL OR i.channels = '*' OR a.channel = ANY (string_to_array(i.channels, ',')))
          LIMIT 1
        ) LIMIT 1
      ) IS NULL AND (i.channels IS NOT NULL OR (
        SELECT true FROM members m
        WHERE m.conversation_id = i.conversation_id AND m.participant_id <> i.sender_id AND (
          SELECT p.kind FROM participants p WHERE p.participant_id = m.participant_id
        ) <> 'contact' LIMIT 1
      ) IS NULL) THEN 'route'
    END AS why
    FROM cases i LEFT JOIN connected n USING (workspace_id)
  ) judged WHERE why IS NOT NULL
  UNION ALL
  SELECT q.place, q.why
  FROM unnest($26::uuid[], $27::uuid[], $28::uuid[], $29::text[]) WITH ORDINALITY
    AS q (workspace_id, conversation_id, message_id, why, place)
  WHERE NOT EXISTS (
    SELECT FROM messages m WHERE m.workspace_id = q.workspace_id AND m.message_id = q.message_id
      AND m.conversation_id = q.conversation_id)
)`;

// What is found by conversation is an object of JSON: a join of two lists would compare each pair. Several conversations are
// `locked` by id first, because an UPDATE locks in the order of its plan; the planner expects one row of a LIMIT that it
// does not know, and so looks them up even when it assumes only three. `queued` follows `moved`, so that
// bus offsets are in the order of the seqs, and `published` is last, because of the lock of the feed.
const writes = (isChecked: boolean, hasFiles: boolean) => `
locked AS MATERIALIZED (
  SELECT count(*) AS count FROM unnest($5::uuid[]) AS g (conversation_id)
  CROSS JOIN LATERAL (SELECT FROM conversations c WHERE c.conversation_id = g.conversation_id FOR NO KEY UPDATE) c
  WHERE cardinality($5::uuid[]) > 1
), moved AS MATERIALIZED (
  UPDATE conversations c SET last_seq = c.last_seq + g.steps, active_at = greatest(c.active_at, $1),
    routed_seq = CASE WHEN g.is_planned AND c.routed_seq = c.last_seq THEN c.last_seq + g.steps ELSE c.routed_seq END
  FROM (
    SELECT * FROM unnest($5::uuid[], $6::int[], $3::int[], $4::boolean[]) LIMIT cardinality($5::uuid[])
  ) AS g (conversation_id, steps, partition, is_planned)
  WHERE c.conversation_id = g.conversation_id AND (SELECT count FROM locked) >= 0 ${isChecked ? "AND NOT EXISTS (SELECT FROM refused)" : ""}
  RETURNING c.conversation_id, c.last_seq - g.steps AS base, g.partition, c.routed_seq = c.last_seq AS is_routed
), bases AS MATERIALIZED (
  SELECT jsonb_object_agg(conversation_id, base) AS by_conversation FROM moved
), written AS (
  INSERT INTO messages (message_id, workspace_id, conversation_id, seq, sender_id, direction, payload,
    channels, options, reply_to, metadata, origin, created_at)
  SELECT i.message_id, i.workspace_id, i.conversation_id,
    ((SELECT by_conversation FROM bases) ->> i.conversation_id::text)::bigint + i.step,
    i.sender_id, i.direction, i.payload::jsonb, i.channels, i.options, i.reply_to, i.metadata, i.origin, $1
  FROM unnest($7::int[], $8::uuid[], $9::uuid[], $10::uuid[], $11::uuid[], $12::text[], ${splitTexts("$13")},
    $14::text[], $15::jsonb[], $16::uuid[], $17::jsonb[], $18::jsonb[]) AS i (step, message_id, workspace_id,
    conversation_id, sender_id, direction, payload, channels, options, reply_to, metadata, origin)
  ${isChecked ? "WHERE NOT EXISTS (SELECT FROM refused)" : ""}
  RETURNING workspace_id${hasFiles ? ", conversation_id, payload" : ""}
), queued AS MATERIALIZED (
  SELECT bus_publish($2, array_agg((q.partitions ->> i.conversation_id::text)::integer ORDER BY i.place), array_agg(
    '["' || i.conversation_id || '",{"workspaceId":"' || i.workspace_id || '","messageId":"' || i.message_id || '"}]' ORDER BY i.place))
  FROM (SELECT jsonb_object_agg(conversation_id, partition) AS partitions FROM moved WHERE NOT is_routed) q,
    unnest($8::uuid[], $9::uuid[], $10::uuid[]) WITH ORDINALITY AS i (message_id, workspace_id, conversation_id, place)
  WHERE q.partitions ? i.conversation_id::text HAVING count(*) > 0
)`;

const shared = `, shared AS (
  INSERT INTO file_conversations (file_id, workspace_id, conversation_id)
  SELECT DISTINCT (payload ->> 'file_id')::uuid, workspace_id, conversation_id FROM written WHERE payload ->> 'type' = 'file'
  ON CONFLICT DO NOTHING
)`;

const accepted = `SELECT w.workspace_id, w.event_count, $19::text AS events
  FROM (SELECT workspace_id, count(*)::integer AS event_count FROM written GROUP BY workspace_id) w, (SELECT count(*) FROM queued) q`;

const result = (isChecked: boolean) => `done AS MATERIALIZED (SELECT count(*), ${commitsEarly} FROM published)
SELECT m.conversation_id, m.base, m.is_routed, NULL::bigint AS place, NULL AS why, NULL::uuid AS started, NULL AS channel
FROM done, moved m
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, started, channel FROM published
${isChecked ? "UNION ALL SELECT NULL, NULL, NULL, place, why, NULL, NULL FROM refused" : ""}`;
