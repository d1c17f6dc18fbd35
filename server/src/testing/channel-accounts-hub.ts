import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { EventEmitter } from "node:events";
import type { Role } from "../../../contract/src/access.ts";
import { startSimulator } from "../../../simulator/src/simulator.ts";
import { ChannelAccounts } from "../channel-accounts/channel-accounts.ts";
import { connectorFor } from "../connectors/registry.ts";
import { noOrigin, type Principal } from "../credentials/credentials.ts";
import { RequestError } from "../errors.ts";
import { systemClock } from "../lib/clock.ts";
import { openHttpClient } from "../lib/http.ts";
import type { ChannelAccountId } from "../lib/ids.ts";
import { openSecretBox } from "../lib/secret-box.ts";
import { channelAccountRoutes } from "../rest/channel-accounts.ts";
import { openRestHub } from "./rest-hub.ts";

export const whatsapp = {
  phone_number_id: "106540352242922",
  access_token: "EAAcanary-access-token",
  app_secret: "canary-app-secret",
  verify_token: "canary-verify-token",
};
export const bot_token = "700000001:canary_of_the_bot_token_35_letters_";
export const telegram = { bot_token, secret_token: "canary-secret-token" };
export const health = {
  status: "active",
  breaker: "half_open",
  last_error: null,
  rate_per_second: 80,
  in_flight: 1,
  parked_lanes: 2,
  pending: 3,
};

/** The routes over a real database, with a simulator for a platform; a token is `<workspace> <role>`. */
export async function startChannelAccountsHub() {
  const hub = await openRestHub();
  const { db, databases } = hub;
  const simulator = hub.more.use(
    await startSimulator({
      accounts: [
        { channel: "whatsapp", ...whatsapp },
        { channel: "telegram", bot_token },
      ],
    }),
  );
  const client = openHttpClient({ connectionsPerHost: 4, allowPrivate: true });
  hub.more.defer(() => client.close());
  const io = { ...client, clock: systemClock, random: Math.random, timeoutMs: 2_000 };
  const secretBox = openSecretBox(Buffer.alloc(32, 7));
  const open = () =>
    new ChannelAccounts({ db: databases.pipelineDb, secretBox, clock: systemClock, allowedOrigins: [simulator.url] });
  const accounts = open();
  const deps = { accounts, io, publicUrl: "", healthOf: () => health as never };
  const { url, call } = await hub.open({ authenticate: principalOf }, (app) => {
    app.get("/webhooks/:channel/:id", { config: { access: "public" } }, async (request, reply) => {
      const { channel, id } = request.params as { channel: string; id: ChannelAccountId };
      const account = await accounts.get(id);
      const query = request.query as Record<string, string>;
      return reply.send(connectorFor(channel)?.handshake?.(query, account?.credentials));
    });
    channelAccountRoutes(app, deps);
  });
  deps.publicUrl = url;

  return {
    db,
    io,
    /** How often the work takes a connection of the pipeline. */
    async countConnections(work: () => Promise<unknown>): Promise<number> {
      const pool = databases.pipelineDb as unknown as EventEmitter;
      let count = 0;
      const onAcquire = () => {
        count += 1;
      };
      pool.on("acquire", onAcquire);
      await work();
      pool.off("acquire", onAcquire);
      return count;
    },
    accounts,
    publicUrl: url,
    /** As another process of the same hub sees it. */
    openSibling: open,
    simulator,
    baseUrl: (channel: string) => `${simulator.url}/${channel}`,
    async workspace(): Promise<string> {
      const id = randomUUID();
      await db.query("INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, 'test', now())", [id]);
      return id;
    },
    async call(target: string, as: string, body?: unknown) {
      const answer = await call(target, { token: as, body });
      assert.doesNotMatch(JSON.stringify(answer.body), /canary/, "a response contains a credential");
      return { status: answer.status, body: answer.body };
    },
    [Symbol.asyncDispose]: () => hub[Symbol.asyncDispose](),
  };
}

function principalOf(authorization = ""): Principal {
  const [, workspaceId, role] = authorization.split(" ");
  if (workspaceId === undefined) throw new RequestError("AUTH_REQUIRED", "Log in.");
  const id = randomUUID();
  const ids = { callerId: id, userId: id, participantId: id, sessionId: null };
  return { kind: "user", ...ids, workspaceId, role: role as Role, scopes: ["*"], rateLimit: null, origin: noOrigin };
}
