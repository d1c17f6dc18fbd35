import assert from "node:assert/strict";
import { test } from "node:test";
import type { Principal } from "../credentials/credentials.ts";
import { RequestError } from "../errors.ts";
import { systemClock } from "../lib/clock.ts";
import { openTestClient, openTestFeeds, testPrincipal } from "../testing/test-feeds.ts";
import { type Pipeline, startPipeline } from "../testing/test-pipeline.ts";
import { until } from "../testing/until.ts";
import { Clients } from "./clients.ts";

const log = { info() {}, warn() {}, error: console.error };
const admissionOf = (principal: Principal) => ({ authorization: "Bearer x", principal, giveBack() {} });
const presence = { connected() {}, disconnected() {} };

/** Clients whose credentials `ask` verifies. */
async function start(line: Pipeline, ask: () => Promise<Principal>) {
  await using stack = new AsyncDisposableStack();
  const { feeds } = stack.use(openTestFeeds(line));
  const clients = new Clients({
    feeds,
    authenticate: ask,
    recheck: ask,
    clock: systemClock,
    log,
    maxClients: 10,
    limits: { perUser: 10, perAddress: 10 },
    presence,
  });
  stack.defer(() => clients.close());
  const opened = stack.move();
  return { clients, feeds, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

const revoked = () => Promise.reject(new RequestError("AUTH_INVALID", "This session has ended."));

test("a credential that is revoked while its client connects is refused", async () => {
  await using line = await startPipeline({ delivers: false });
  const principal = testPrincipal(line, "member");
  await using opened = await start(line, revoked);
  const test = openTestClient(principal);
  const adding = opened.clients.add(admissionOf(principal), () => test.client.outlet);
  await opened.clients.changed(principal.userId);
  await adding;
  await until("the client is closed", () => test.closing() === "credential");
  assert.equal(opened.clients.count(), 0);
});

test("a response from before a change is ignored when it comes after it", async () => {
  await using line = await startPipeline({ delivers: false });
  const agent = testPrincipal(line, "agent");
  const member = testPrincipal(line, "member", agent.userId);
  const answers: PromiseWithResolvers<Principal>[] = [];
  await using opened = await start(line, () => {
    const answer = Promise.withResolvers<Principal>();
    answers.push(answer);
    return answer.promise;
  });
  const client = (await opened.clients.add(admissionOf(agent), () => openTestClient(agent).client.outlet))!;
  const early = opened.clients.recheckAll();
  const change = opened.clients.changed(agent.userId);
  answers[1]!.resolve(member);
  await change;
  assert.equal(client.principal.role, "member");
  answers[0]!.resolve(agent);
  await until("the client is checked again", () => answers.length === 3);
  answers[2]!.resolve(member);
  await early;
  assert.equal(client.principal.role, "member");
  assert.deepEqual(opened.feeds.peek(line.workspaceId)?.memberIds(), [agent.userId]);
});

test("a client that disconnects while its feed is opened is not added", async () => {
  await using line = await startPipeline({ delivers: false });
  const principal = testPrincipal(line, "member");
  await using opened = await start(line, async () => principal);
  assert.equal(await opened.clients.add(admissionOf(principal), () => null), null);
  assert.equal(opened.clients.count(), 0);
});
