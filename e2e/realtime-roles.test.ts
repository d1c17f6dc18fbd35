/** Processes with and without the role realtime, and which sockets deliver a message. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Client, openClient } from "../client/src/client.ts";
import { createTestDatabase } from "../server/src/testing/test-database.ts";
import { until } from "../server/src/testing/until.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { adminPassword, openPlatforms, sharedSecrets, startTestHub } from "./src/harness.ts";
import { openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { type Frame, listen, positionOf, UpgradeRefused } from "./src/listener.ts";
import { withoutProc } from "./src/processes.ts";

test(
  "processes share the roles: one serves requests, others serve clients, which resume at another when theirs stops",
  {
    skip: withoutProc,
  },
  async () => {
    await using database = await createTestDatabase();
    await using simulator = await startSimulator(openPlatforms);
    const env = { ...sharedSecrets, DATABASE_URL: database.url, SIMULATOR_URL: simulator.url };
    await using answering = await openHubPlace({ ...env, ROLES: "api,router,connector,tasks" });
    await using first = await openHubPlace({ ...env, ROLES: "realtime" });
    await using second = await openHubPlace({ ...env, ROLES: "realtime" });
    await startHubProcess(answering);
    const [stopping] = await Promise.all([startHubProcess(first), startHubProcess(second)]);
    const admin = openClient({ url: answering.url, credential: { username: "admin", password: adminPassword } });
    const { key: token } = await admin.apiKeys.create({ name: "events", scopes: ["*"] });

    const refused = await listen({ url: answering.url, token }).catch((error) => error);
    assert.ok(refused instanceof UpgradeRefused, String(refused));
    assert.deepEqual([refused.status, refused.body.error.code], [421, "MISDIRECTED"]);
    assert.match(refused.message, /role realtime \(ROLES\)/);
    // An upgrade from which a proxy has removed the header `upgrade`.
    const plain = await fetch(`${answering.url}/ws`);
    assert.equal(plain.status, 421);
    assert.match(await plain.text(), /role realtime \(ROLES\)/);
    const authorization = `Bearer ${token}`;
    const stream = await fetch(`${answering.url}/v1/events`, {
      headers: { accept: "text/event-stream", authorization },
    });
    assert.equal(stream.status, 421);
    assert.match(await stream.text(), /role realtime \(ROLES\)/);
    const headers = { authorization, "content-type": "application/json" };
    const post = await fetch(`${first.url}/v1/messages`, { method: "POST", headers, body: "{}" });
    assert.equal(post.status, 404);
    assert.equal((await fetch(`${first.url}/readyz`)).status, 200);

    const say = (client: Client, text: string) =>
      client.messages.send({ to: "whatsapp:+5511910000001", payload: { type: "text", text } });
    await using socket = await listen({ url: first.url, token });
    await say(admin, "one");
    const event = await socket.frame("one", ({ content }) => content === "one");
    stopping.kill("SIGTERM");
    assert.equal((await socket.closed).code, 1001);
    assert.equal((await stopping.ended).code, 0);
    await say(admin, "two");
    await using again = await listen({ url: second.url, token, cursor: socket.events().at(-1)!.cursor });
    await again.frame("two", ({ content }) => content === "two");
    const feed = await (await fetch(`${second.url}/v1/events?limit=200&after=${event.cursor}`, { headers })).json();
    await until("all messages have arrived", async () => {
      const received = [...socket.events(), ...again.events()].filter(
        ({ cursor }) => positionOf(cursor) > positionOf(event.cursor),
      );
      const there = (feed as { data: Frame[] }).data;
      return there.every(({ cursor }) => received.filter((frame) => frame.cursor === cursor).length === 1);
    });
  },
);

test("a message in the app is delivered by a socket of its recipient: for the workspace any agent's, never a program's", async () => {
  await using hub = await startTestHub();
  const bea = await hub.user("member", "Bea");
  const { conversation_id } = await hub.group([bea.user_id, hub.person("whatsapp"), hub.person("telegram")]);
  const person = hub.person("whatsapp");
  const program = await hub.admin.apiKeys.create({ name: "program", scopes: ["*"] });
  const { access_token: adminToken } = await hub.logIn("admin");
  const { key } = program;
  const appDelivery = async (messageId: string) => {
    const { deliveries } = await hub.client.messages.get(messageId);
    return deliveries.find(({ channel }) => channel === "app")!;
  };
  const isStatusOf = (messageId: string) => (frame: Frame) =>
    frame.type === "MESSAGE_STATUS" && frame.message_id === messageId && frame.channel === "app";

  await using programs = await listen({ url: hub.url, token: key });
  await using admins = await listen({ url: hub.url, token: adminToken });
  const { message_id } = await hub.client.messages.send({ conversation_id, payload: { type: "text", text: "oi" } });
  for (const socket of [programs, admins]) await socket.frame("the delivery", isStatusOf(message_id));
  await hub.settled();
  assert.equal((await appDelivery(message_id)).status, "in_transit");
  await using beas = await listen({ url: hub.url, token: (await hub.logIn(bea.username)).access_token, cursor: "0" });
  await beas.frame("its delivery", isStatusOf(message_id));
  await until("it is delivered", async () => (await appDelivery(message_id)).status === "delivered");
  await hub.call("POST", `/v1/conversations/${conversation_id}/read`, (await hub.logIn(bea.username)).access_token, {
    seq: 1,
  });
  await admins.frame("the reading", (frame) => isStatusOf(message_id)(frame) && frame.status === "read");

  // A new contact writes to the workspace.
  await admins[Symbol.asyncDispose]();
  await person.writes("hello");
  const inbound = await programs.frame("the message of the new contact", ({ content }) => content === "hello");
  await programs.frame("its delivery", isStatusOf(String(inbound.message_id)));
  await hub.settled();
  assert.equal((await appDelivery(String(inbound.message_id))).status, "in_transit");
  const dora = await hub.user("agent", "Dora");
  const { access_token: agentToken } = await hub.logIn(dora.username);
  await using agents = await listen({
    url: hub.url,
    token: agentToken,
    cursor: String(positionOf(inbound.cursor) - 1),
  });
  await agents.frame(
    "it is delivered",
    (frame) => isStatusOf(String(inbound.message_id))(frame) && frame.status === "delivered",
  );
  const trace = await hub.client.messages.trace(String(inbound.message_id));
  assert.deepEqual(
    trace.filter(({ what }) => what === "socket").map(({ user_id }) => user_id),
    [dora.user_id],
  );
});
