import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError } from "../client/src/client.ts";
import { createClient } from "../server/src/lib/postgres.ts";
import { until } from "../server/src/testing/until.ts";
import { openChecker } from "./src/checker.ts";
import { adminPassword, startTestHub } from "./src/harness.ts";
import { assertFine, observe } from "./src/observe.ts";

/** More than even a slow hub admits. */
const crowd = 100;
/** Each has its own lane. */
const lanes = 20;

test("an overloaded hub refuses requests, serves operators and logins, and delivers everything it accepted", async () => {
  // The test holds up one commit, so that requests soon fill the queue.
  const env = { ACCEPT_BATCH_SIZE: "20", ACCEPT_QUEUE_SIZE: "60", ACCEPT_MAX_WAIT: "1m" };
  await using hub = await startTestHub({ env });
  const checker = openChecker();
  const talks: { conversation_id: string; address: string }[] = [];
  for (let lane = 0; lane < lanes; lane += 1) {
    const { address } = hub.person(lane % 2 === 0 ? "whatsapp" : "telegram");
    const { conversation_id } = await hub.client.conversations.create({ type: "private", members: [{ address }] });
    talks.push({ conversation_id, address });
  }
  const refusals: ApiError[] = [];
  const sends: Promise<void>[] = [];

  async function send(): Promise<void> {
    const text = `message ${sends.length}`;
    const { conversation_id, address } = talks[sends.length % lanes]!;
    try {
      const { message_id, seq } = await hub.client.messages.send({ conversation_id, payload: { type: "text", text } });
      const recipients = [address];
      checker.accepted({ conversation: conversation_id, seq, messageId: message_id, text, recipients });
    } catch (error) {
      assert.ok(error instanceof ApiError, `${error}: ${(error as Error).cause}`);
      refusals.push(error);
    }
  }

  await using opened = new AsyncDisposableStack();
  const owner = createClient({ url: hub.databaseUrl, applicationName: "operator" });
  opened.defer(() => owner.end());
  await owner.connect();
  await owner.query("BEGIN; LOCK TABLE messages IN ACCESS EXCLUSIVE MODE");
  for (let count = 0; count < crowd; count += 1) sends.push(send());
  const refusedAtTheDoor = async () => {
    const metrics = await (await fetch(`${hub.url}/metrics`)).text();
    return Number(/^chat4all_refused_requests_total (\d+)/m.exec(metrics)![1]);
  };
  await until("requests are refused at the door", async () => {
    sends.push(send());
    return (await refusedAtTheDoor()) >= 5;
  });
  assert.equal((await fetch(`${hub.url}/healthz`)).status, 200);
  assert.equal((await fetch(`${hub.url}/readyz`)).status, 200);
  const credential = { username: "admin", password: adminPassword };
  assert.ok((await hub.call("POST", "/auth/token", null, credential)).access_token);

  await opened.disposeAsync();
  await Promise.all(sends);
  await until("it accepts again", async () => {
    const before = refusals.length;
    sends.push(send());
    await sends.at(-1);
    return refusals.length === before;
  });
  assert.ok(refusals.length < sends.length, "nothing was accepted");
  for (const { status, code, retryAfterSeconds, requestId } of refusals) {
    assert.deepEqual([status, code], [503, "OVERLOADED"]);
    assert.ok(retryAfterSeconds! >= 1 && retryAfterSeconds! <= 3, `${retryAfterSeconds}`);
    assert.ok(requestId);
  }
  await hub.settled(60_000);
  const conversationIds = talks.map(({ conversation_id }) => conversation_id);
  assertFine(await observe({ client: hub.client, simulator: hub.simulator, conversationIds, checker, trails: false }));
});
