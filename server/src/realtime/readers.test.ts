import assert from "node:assert/strict";
import { test } from "node:test";
import type { Principal } from "../credentials/credentials.ts";
import { RequestError } from "../errors.ts";
import { systemClock } from "../lib/clock.ts";
import { type Pipeline, startPipeline } from "../testing/test-pipeline.ts";
import { openTestReader, openTestRooms, testPrincipal } from "../testing/test-rooms.ts";
import { until } from "../testing/until.ts";
import { openReaders } from "./readers.ts";

const log = { info() {}, warn() {}, error: console.error };
const admissionOf = (principal: Principal) => ({ authorization: "Bearer x", principal, giveBack() {} });
const presence = { arrived() {}, left() {} };

/** Readers whose credentials are believed as long as `ask` says. */
async function start(line: Pipeline, ask: () => Promise<Principal>) {
  await using stack = new AsyncDisposableStack();
  const { rooms } = stack.use(openTestRooms(line));
  const readers = openReaders({
    rooms,
    authenticate: ask,
    recheck: ask,
    clock: systemClock,
    log,
    maxReaders: 10,
    limits: { perUser: 10, perAddress: 10 },
    presence,
  });
  stack.defer(() => readers.close());
  const opened = stack.move();
  return { readers, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

const revoked = () => Promise.reject(new RequestError("AUTH_INVALID", "This session has ended."));

test("a credential that is revoked while its reader is let in is not believed", async () => {
  await using line = await startPipeline({ delivers: false });
  const principal = testPrincipal(line, "member");
  await using opened = await start(line, revoked);
  const test = openTestReader(principal);
  const adding = opened.readers.add(admissionOf(principal), () => test.subscriber.outlet);
  await opened.readers.changed(principal.userId);
  await adding;
  await until("the reader is closed", () => test.closing() === "credential");
  assert.equal(opened.readers.count(), 0);
});

test("an answer from before a change, which comes after it, does not count", async () => {
  await using line = await startPipeline({ delivers: false });
  const agent = testPrincipal(line, "agent");
  const member = testPrincipal(line, "member", agent.userId);
  const answers: PromiseWithResolvers<Principal>[] = [];
  await using opened = await start(line, () => {
    const answer = Promise.withResolvers<Principal>();
    answers.push(answer);
    return answer.promise;
  });
  const reader = (await opened.readers.add(admissionOf(agent), () => openTestReader(agent).subscriber.outlet))!;
  const early = opened.readers.recheckAll();
  const change = opened.readers.changed(agent.userId);
  answers[1]!.resolve(member);
  await change;
  assert.equal(reader.subscriber.principal.role, "member");
  answers[0]!.resolve(agent);
  await until("the reader is checked again", () => answers.length === 3);
  answers[2]!.resolve(member);
  await early;
  assert.equal(reader.subscriber.principal.role, "member");
  assert.deepEqual(reader.room.memberIds(), [agent.userId]);
});

test("who left while its feed was being opened is no reader", async () => {
  await using line = await startPipeline({ delivers: false });
  const principal = testPrincipal(line, "member");
  await using opened = await start(line, async () => principal);
  assert.equal(await opened.readers.add(admissionOf(principal), () => null), null);
  assert.equal(opened.readers.count(), 0);
});
