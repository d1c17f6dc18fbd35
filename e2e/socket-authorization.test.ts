/** The authorization matrix of `/ws`: who may open a socket, in each of the three ways in which a token can come. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { connect } from "node:net";
import { before, test } from "node:test";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { socketAccess } from "./src/authorization-table.ts";
import { openKeys, type Refused, refusedCredentials } from "./src/callers.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { changedTables, type Owner, openOwner, takeSnapshot } from "./src/owned-rows.ts";
import { anotherWorkspace, firstWorkspace, text, type Workspace } from "./src/workspace.ts";

const opened = closeAfterTests();
let hub: TestHub;
let owner: Owner;
let home: Workspace;
let abroad: Workspace;
let refused: Refused[];

before(async () => {
  hub = opened.use(await startTestHub());
  owner = opened.use(await openOwner(hub.databaseUrl));
  [home, abroad] = [await firstWorkspace(hub), await anotherWorkspace(hub)];
  refused = await refusedCredentials(home);
});

type Way = "header" | "parameter" | "subprotocol";
const ways: Way[] = ["header", "parameter", "subprotocol"];

test("callers without access get no socket with the token in any place, and nothing changes", async () => {
  const before = await takeSnapshot(owner);
  for (const { name, authorization, code } of refused) {
    assert.deepEqual(await shakeHands({ authorization }), { status: 401, code }, name);
    const token = /^Bearer (.+)$/.exec(authorization ?? "")?.[1];
    if (token === undefined) continue;
    for (const way of ways)
      assert.deepEqual(await shakeHands({ token, way }), { status: 401, code }, `${name}, ${way}`);
  }
  assert.deepEqual(changedTables(before, await takeSnapshot(owner)), []);
});

test("a client that disconnects during the handshake does no harm", async () => {
  const { hostname, port } = new URL(hub.url);
  for (const path of ["/nothing", "/ws", "/ws?token=none", "//ws"]) {
    const client = connect(Number(port), hostname);
    await once(client, "connect");
    client.write(`GET ${path} HTTP/1.1\r\nhost: hub\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`);
    // Both are there before the hub reads them: its response fails, and an unhandled failure ends the process.
    client.resetAndDestroy();
    await once(client, "close");
  }
  assert.equal((await fetch(`${hub.url}/healthz`)).status, 200);
});

// As Java's client does with every request, by default.
test("a request that offers another protocol is handled normally", async () => {
  const asked = request(`${hub.url}/healthz`, { headers: { connection: "Upgrade, HTTP2-Settings", upgrade: "h2c" } });
  asked.end();
  const [answer] = await once(asked, "response");
  answer.resume();
  assert.equal(answer.statusCode, 200);
});

test("an API key needs the scope", async () => {
  const keys = openKeys(home);
  const forbidden = { status: 403, code: "FORBIDDEN" };
  for (const way of ways) {
    for (const scope of socketAccess.scope) {
      assert.deepEqual(await shakeHands({ token: await keys.without(scope), way }), forbidden, `${way}, ${scope}`);
    }
    assert.deepEqual(await shakeHands({ token: await keys.with(...socketAccess.scope), way }), { status: 101 }, way);
  }
});

test("every role may open a socket, but not from another site", async () => {
  for (const { token } of [home.admin, home.agent, home.member, home.outsider]) {
    for (const way of ways) assert.deepEqual(await shakeHands({ token, way }), { status: 101 }, way);
    const foreign = await shakeHands({ token, way: "parameter", origin: "https://elsewhere.example" });
    assert.deepEqual(foreign, { status: 403, code: "FORBIDDEN" });
  }
});

test("a browser sees a wrong credential as close code 1006, and GET /v1/me returns 401", async () => {
  const token = `${home.member.token}x`;
  const socket = new WebSocket(`${hub.url.replace("http", "ws")}${socketAccess.path}`, ["bearer", token]);
  const closed = once(socket, "close");
  socket.addEventListener("error", () => undefined);
  const [{ code, reason }] = (await closed) as [CloseEvent];
  assert.deepEqual({ code, reason }, { code: 1006, reason: "" });
  const me = await fetch(`${hub.url}/v1/me`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(me.status, 401);
});

test("only members of a conversation receive its events", async () => {
  const group = await home.admin.client.conversations.create({
    type: "group",
    title: "Ours",
    members: [home.admin.userId, home.agent.userId, home.member.userId],
  });
  const listeners = {
    member: await listen(home.member.token),
    outsider: await listen(home.outsider.token),
    stranger: await listen(abroad.admin.token),
  };
  const said = await home.admin.client.messages.send({
    conversation_id: group.conversation_id,
    payload: text("For the three of us"),
  });
  // The others get an event of their own afterwards: by then they would have received it.
  const others = { outsider: home, stranger: abroad };
  for (const [name, workspace] of Object.entries(others)) {
    const members = [workspace.admin.userId, workspace.outsider.userId];
    const { conversation_id } = await workspace.admin.client.conversations.create({ type: "private", members });
    const frames = listeners[name as keyof typeof others];
    await until(`${name} receives their own`, () => frames.some((frame) => frame.includes(conversation_id)));
  }
  await until("the member receives it", () => listeners.member.some((frame) => frame.includes(said.message_id)));
  for (const name of ["outsider", "stranger"] as const) {
    const leaked = listeners[name].filter((frame) => frame.includes(group.conversation_id));
    assert.deepEqual(leaked, [], name);
  }
});

/** The frames that come, as they come. */
async function listen(token: string): Promise<string[]> {
  const frames: string[] = [];
  const socket = new WebSocket(`${hub.url.replace("http", "ws")}${socketAccess.path}`, ["bearer", token]);
  opened.defer(() => socket.close());
  socket.addEventListener("message", ({ data }) => frames.push(String(data)));
  await until("the socket is greeted", () => frames.some((frame) => frame.includes("HELLO")));
  return frames;
}

/** Requests a socket, and returns the outcome. */
function shakeHands(asked: {
  authorization?: string | null;
  token?: string;
  way?: Way;
  origin?: string;
}): Promise<{ status: number; code?: string }> {
  const { token, way, origin } = asked;
  const authorization = way === "header" ? `Bearer ${token}` : asked.authorization;
  const search = way === "parameter" ? `?${new URLSearchParams({ token: token! })}` : "";
  return new Promise((resolve, reject) => {
    const shaking = request(`${hub.url}${socketAccess.path}${search}`, {
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": Buffer.alloc(16, 7).toString("base64"),
        ...(way === "subprotocol" ? { "sec-websocket-protocol": `bearer, ${token}` } : {}),
        ...(authorization === null || authorization === undefined ? {} : { authorization }),
        ...(origin === undefined ? {} : { origin }),
      },
    });
    shaking.on("upgrade", ({ statusCode }, socket) => {
      socket.destroy();
      resolve({ status: statusCode! });
    });
    shaking.on("response", async (answer) => {
      const body = (await answer.toArray()).join("");
      resolve({ status: answer.statusCode!, code: JSON.parse(body).error.code });
    });
    shaking.on("error", reject).end();
  });
}
