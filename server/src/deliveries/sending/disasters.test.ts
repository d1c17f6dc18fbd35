import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { SendOutcome } from "../../connectors/connector.ts";
import { all } from "../../lib/query.ts";
import { type Pipeline, startPipeline } from "../../testing/test-pipeline.ts";
import { until } from "../../testing/until.ts";
import { startFallbacks } from "../fallbacks.ts";

const retry: SendOutcome = { kind: "retry", afterMs: null, scope: "lane", platformFault: false, detail: "busy" };
const refused: SendOutcome = { kind: "refused", reason: "PAYLOAD_INVALID", detail: "no" };
const unknown: SendOutcome = { kind: "unknown", detail: "no response" };

/** For a statement that puts a delivery into a state of a process that died: `feed-guard.sql` does not check it. */
const unguarded = "SET LOCAL session_replication_role = replica;";

test("for any responses of a platform: lanes in order, one request at a time, every delivery ends, duplicates only after unknown", async () => {
  const people = ["ana", "bia", "caio"];
  await using line = await startPipeline({ policy: { baseMs: 1, maxMs: 4 } });
  const chats = await Promise.all(people.map(async (person) => line.addConversation(await line.addPerson(person))));
  const outcomes = fc.array(fc.constantFrom("sent", "sent", "retry", "refused", "unknown arrived", "unknown lost"), {
    minLength: 20,
    maxLength: 20,
  });
  let round = 0;
  await fc.assert(
    fc.asyncProperty(outcomes, fc.array(fc.nat(2), { minLength: 4, maxLength: 12 }), async (script, turns) => {
      round += 1;
      const arrived: string[] = [];
      const inFlight = new Set<string>();
      let next = 0;
      line.platform.answer = async (part) => {
        assert.ok(!inFlight.has(part.identifier), "two requests of a lane at a time");
        inFlight.add(part.identifier);
        await new Promise((resolve) => setTimeout(resolve, next % 3));
        inFlight.delete(part.identifier);
        const outcome = script[next++] ?? "sent";
        const text = (part.payload as { text: string }).text;
        if (outcome === "sent" || outcome === "unknown arrived") arrived.push(`${part.identifier} ${text}`);
        if (outcome === "retry") return retry;
        if (outcome === "refused") return refused;
        return outcome === "sent" ? { kind: "sent", providerMessageId: `${round}.${next}` } : unknown;
      };
      const said: { person: string; text: string; messageId: string }[] = [];
      for (const [index, turn] of turns.entries()) {
        const { messageId } = await line.say(chats[turn]!, `${index}`);
        said.push({ person: people[turn]!, text: `${index}`, messageId });
      }
      await line.settled();
      for (const person of people) {
        const got = arrived.filter((one) => one.startsWith(`${person} `)).map((one) => Number(one.split(" ")[1]));
        assert.deepEqual(
          got.toSorted((a, b) => a - b),
          got,
          `${person} got them out of order`,
        );
      }
      for (const { person, text, messageId } of said) {
        const { status, error, attempts, delivery_id } = await line.deliveryOf(messageId);
        const times = arrived.filter((one) => one === `${person} ${text}`).length;
        const tries = await attemptsOf(line, delivery_id);
        assert.equal(tries.length, attempts);
        const lost = tries.filter((one) => one.outcome === "unknown").length;
        assert.ok(times <= 1 + lost, "it arrived twice without an unknown attempt");
        if (status === "sent") assert.ok(times >= 1, "sent, but never arrived");
        else assert.deepEqual([status, error?.code], ["failed", "PAYLOAD_INVALID"]);
      }
    }),
    { numRuns: 12 },
  );
});

test("a lane whose request hangs delays no other lane", async () => {
  await using line = await startPipeline();
  const [ana, bia] = await Promise.all(
    ["ana", "bia"].map(async (one) => line.addConversation(await line.addPerson(one))),
  );
  const hanging = Promise.withResolvers<SendOutcome>();
  line.platform.answer = ({ identifier, payload }) =>
    identifier === "ana" ? hanging.promise : { kind: "sent", providerMessageId: (payload as { text: string }).text };
  await line.say(ana!, "to ana");
  for (let i = 0; i < 20; i += 1) await line.say(bia!, `${i}`);
  await until("bia has all messages", () => line.texts("bia").length === 20);
  assert.equal(line.texts("ana").length, 1);
  hanging.resolve({ kind: "sent", providerMessageId: "ana's" });
  await line.settled();
});

test("a refused message is a dead letter at once, and those behind it are sent", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  line.platform.answer = ({ payload }) =>
    (payload as { text: string }).text === "poison"
      ? refused
      : { kind: "sent", providerMessageId: crypto.randomUUID() };
  const ids = [];
  for (const text of ["one", "poison", "two"]) ids.push((await line.say(chat, text)).messageId);
  await line.settled();
  assert.deepEqual(line.texts(), ["one", "poison", "two"]);
  const [, poison] = await Promise.all(ids.map((id) => line.deliveryOf(id)));
  assert.deepEqual([poison!.status, poison!.is_dead_letter, poison!.attempts], ["failed", true, 1]);
});

test("deliveries that do not fit in memory wait in the database, and are sent in order", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  let isDown = true;
  line.platform.answer = ({ payload }) =>
    isDown ? { ...retry, afterMs: 50 } : { kind: "sent", providerMessageId: (payload as { text: string }).text };
  for (let i = 0; i < 200; i += 1) await line.say(chat, `${i}`);
  await line.routed();
  isDown = false;
  line.sent.length = 0;
  await line.settled();
  assert.deepEqual(
    [...new Set(line.texts())],
    Array.from({ length: 200 }, (_, i) => `${i}`),
  );
});

test("an attempt whose process died is recorded as unknown, and repeated by the process that takes over", async () => {
  await using line = await startPipeline({ delivers: false, isOnlyProcess: true });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const { messageId } = await line.say(chat, "oi");
  await line.routed();
  await line.admin.query(
    `${unguarded} UPDATE deliveries SET attempts = 1, attempt_started_at = now(), status = 'in_transit'`,
  );
  line.deliver();
  await line.settled();
  const { status, attempts, delivery_id } = await line.deliveryOf(messageId);
  assert.deepEqual([status, attempts], ["sent", 2]);
  const tries = await attemptsOf(line, delivery_id);
  assert.deepEqual(tries, [
    { number: 1, outcome: "unknown" },
    { number: 2, outcome: "sent" },
  ]);
});

// It started the attempt just before it lost the partition, and committed it after the next owner had looked for those
// that were open. Once both sent the message, and the trace showed a single attempt.
test("an attempt that a former owner of the lane committed late is recorded as unknown before the next one", async () => {
  await using line = await startPipeline();
  await line.owned();
  const chat = await line.addConversation(await line.addPerson("ana"));
  line.account.status = "disabled";
  const { messageId } = await line.say(chat, "oi");
  await line.routed();
  await line.admin.query(
    `${unguarded} UPDATE deliveries SET attempts = 1, attempt_started_at = now(), status = 'in_transit'`,
  );
  line.account.status = "active";
  await line.settled();
  const { status, delivery_id } = await line.deliveryOf(messageId);
  assert.equal(status, "sent");
  assert.deepEqual(await attemptsOf(line, delivery_id), [
    { number: 1, outcome: "unknown" },
    { number: 2, outcome: "sent" },
  ]);
});

// It may have been sent: an operator who reads "not sent in time" would send it again.
test("a fallback does not say that an attempt whose process died was not sent", async () => {
  const policy = { unknownGraceMs: 60_000 };
  const capabilities = { afterUnknown: "receipt" } as const;
  await using line = await startPipeline({ delivers: false, isOnlyProcess: true, capabilities, policy });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const { messageId } = await line.say(chat, "oi");
  await line.routed();
  await line.admin.query(
    `${unguarded} UPDATE deliveries SET attempts = 1, attempt_started_at = now(), status = 'in_transit', fallback_at = now()`,
  );
  line.deliver();
  await until("the attempt is recorded", async () => (await all(line.pool, "SELECT FROM attempts")).length === 1);
  await startFallbacks({ ...line.deps, capabilitiesOf: () => line.connector.capabilities });
  const { status, error } = await line.deliveryOf(messageId);
  assert.deepEqual([status, error?.code], ["in_transit", "UNKNOWN"]);
});

test("closing waits for the request under way and stores its response", async () => {
  await using line = await startPipeline({ delivers: false });
  const deliverer = line.deliver();
  const chat = await line.addConversation(await line.addPerson("ana"));
  const answer = Promise.withResolvers<SendOutcome>();
  line.platform.answer = () => answer.promise;
  const { messageId } = await line.say(chat, "oi");
  await line.say(chat, "next");
  await until("the message is sent", () => line.sent.length === 1);
  let isClosed = false;
  const closing = deliverer.close().then(() => {
    isClosed = true;
  });
  await new Promise(setImmediate);
  assert.equal(isClosed, false);
  answer.resolve({ kind: "sent", providerMessageId: "late" });
  await closing;
  assert.equal((await line.deliveryOf(messageId)).status, "sent");
  assert.equal(line.sent.length, 1);
});

test("a connector that throws is an unknown attempt, and its lane continues", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  let calls = 0;
  line.platform.answer = () => {
    calls += 1;
    if (calls === 1) throw new TypeError("a bug");
    return { kind: "sent", providerMessageId: `after ${calls}` };
  };
  await line.say(chat, "oi");
  await line.say(chat, "next");
  await line.settled();
  assert.deepEqual(line.texts(), ["oi", "oi", "next"]);
});

test("a long text is sent in parts, and continues after a failure with the missing part", async () => {
  await using line = await startPipeline({ capabilities: { maxTextLength: 4 } });
  const chat = await line.addConversation(await line.addPerson("ana"));
  let calls = 0;
  line.platform.answer = () => {
    calls += 1;
    return calls === 2 ? retry : { kind: "sent", providerMessageId: `part ${calls}` };
  };
  const { messageId } = await line.say(chat, "abcdefghij");
  await line.settled();
  assert.deepEqual(line.texts(), ["abcd", "efgh", "efgh", "ij"]);
  assert.deepEqual((await line.deliveryOf(messageId)).provider_message_ids, ["part 1", "part 3", "part 4"]);
});

function attemptsOf(line: Pipeline, deliveryId: string) {
  return all<{ number: number; outcome: string }>(
    line.pool,
    `SELECT a.number, a.outcome FROM deliveries d CROSS JOIN LATERAL attempts_of(d) a
     WHERE d.delivery_id = $1 ORDER BY a.number`,
    [deliveryId],
  );
}

test("an outcome whose details cannot be stored waits for the database like any other", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  const exchange = { request: { method: "POST", url: "https://platform.example/" }, answer: { status: 200 } };
  line.platform.answer = () => ({ kind: "sent", providerMessageId: crypto.randomUUID(), exchange });
  await line.admin.query(`
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF NEW.attempts::text LIKE '%platform.example%' THEN RAISE 'details' USING ERRCODE = '22000'; END IF;
      RAISE 'full' USING ERRCODE = '53100';
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON attempt_batches FOR EACH ROW EXECUTE FUNCTION refuse()`);
  const { messageId } = await line.say(chat, "oi");
  await until("it waits", () => {
    return line.sent.length > 1 || line.troubles.list().some(({ code, failures }) => code === "53100" && failures > 1);
  });
  // Dropping the trigger could deadlock with the write.
  await line.admin.query(
    "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
  );
  await line.settled();
  assert.deepEqual(line.texts(), ["oi"]);
  assert.equal((await line.deliveryOf(messageId)).status, "sent");
});
