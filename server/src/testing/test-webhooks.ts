import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Principal } from "../credentials/credentials.ts";
import { openEventNotifier } from "../events/events.ts";
import { systemClock } from "../lib/clock.ts";
import { openLocalFanout } from "../lib/fanout/local-fanout.ts";
import { openHttpClient } from "../lib/http.ts";
import { newId } from "../lib/ids.ts";
import type { Log } from "../lib/postgres.ts";
import { all, run } from "../lib/query.ts";
import { openSecretBox } from "../lib/secret-box.ts";
import {
  answerCut,
  createEndpoint,
  openTester,
  startWebhookEndpoints,
} from "../webhook-endpoints/webhook-endpoints.ts";
import { startPipeline } from "./test-pipeline.ts";
import { until } from "./until.ts";

const quiet: Log = { info() {}, warn() {}, error() {} };

/** What a receiver got. */
interface Got {
  headers: IncomingMessage["headers"];
  /** The body, and what it says. */
  body: string;
  type: string;
  data: Record<string, unknown>;
  atMs: number;
}

type Answer = (got: Got, response: ServerResponse, attempt: number) => void;

export const ok: Answer = (_got, response) => response.writeHead(204).end();
export const status =
  (code: number, headers: Record<string, string> = {}): Answer =>
  (_got, response) =>
    response.writeHead(code, headers).end("said so");

/** A pipeline with its feed, and what sends to webhook endpoints, under a clock whose hands the test may move. */
export async function startWebhookTest() {
  await using stack = new AsyncDisposableStack();
  let aheadMs = 0;
  const clock = { ...systemClock, now: () => Date.now() + aheadMs };
  const line = stack.use(await startPipeline());
  // `startPipeline` notifies its own; here the test notifies, or polling finds the events.
  const eventNotifier = openEventNotifier({ fanout: stack.use(openLocalFanout(quiet)), clock });
  const secretBox = openSecretBox(Buffer.alloc(32, 7));
  const client = stack.adopt(
    openHttpClient({ connectionsPerHost: 256, allowPrivate: true, cut: answerCut }),
    (opened) => opened.close(),
  );
  const deps = {
    db: line.databases.pipelineDb,
    http: client.http,
    clock,
    random: () => 0.5,
    log: quiet,
    troubles: line.troubles,
    secretBox,
    allowPrivate: true,
    leaseMs: 1_000,
    eventNotifier,
  };
  const engines = new Set<ReturnType<typeof startWebhookEndpoints>>();
  stack.defer(async () => void (await Promise.all([...engines].map((engine) => engine.close()))));
  const start = (changes: Partial<typeof deps> = {}) => {
    const engine = startWebhookEndpoints({ ...deps, ...changes });
    engines.add(engine);
    return {
      ...engine,
      close() {
        engines.delete(engine);
        return engine.close();
      },
    };
  };
  const db = line.databases.dbOf(line.workspaceId);
  const tester = openTester(deps);
  const addAdmin = async (): Promise<Principal> => {
    const userId = newId(Date.now());
    await run(
      line.pool,
      `WITH p AS (
         INSERT INTO participants (participant_id, workspace_id, kind, display_name, created_at)
         VALUES ($1::uuid, $2, 'user', 'An admin', now())
       )
       INSERT INTO users (user_id, workspace_id, username, email, role, created_at)
       VALUES ($1, $2, $1::text, $1 || '@example.com', 'admin', now())`,
      [userId, line.workspaceId],
    );
    return { ...line.principal, kind: "user", callerId: userId, userId, participantId: userId };
  };
  const { userId } = await addAdmin();
  const principal: Principal = { ...line.principal, userId };
  await run(
    line.pool,
    `INSERT INTO api_keys (api_key_id, workspace_id, created_by, name, key_hash, key_hint, scopes, created_at)
     VALUES ($1::uuid, $2, $3, 'test', $1::text::bytea, 'test', '{*}', now())`,
    [principal.callerId, line.workspaceId, userId],
  );
  const opened = stack.move();

  return {
    line,
    db,
    deps,
    tester,
    start,
    /** An API key of an admin. */
    principal,
    /** A logged-in user. */
    addAdmin,
    key: (endpointId: string) => ({ workspaceId: line.workspaceId, endpointId }),
    notify: () => eventNotifier.notify(line.workspaceId),
    passTime(ms: number) {
      aheadMs += ms;
    },
    connect: (url: string, more: Partial<Parameters<typeof createEndpoint>[3]> = {}, by = principal) =>
      createEndpoint(deps, db, by, { url, events: ["*"], ...more }),
    /** A private conversation in which messages can be said. */
    chat: async () => line.addConversation(await line.addPerson("ana")),
    rows: <Row>(text: string, values: unknown[] = []) => all<Row>(line.pool, text, values),
    deliveries: () =>
      all<{ event: string; status: string; attempts: number; next_attempt_at: Date; owner_id: string | null }>(
        line.pool,
        "SELECT event, status, attempts, next_attempt_at, owner_id FROM webhook_deliveries ORDER BY position",
      ),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

export type WebhookTest = Awaited<ReturnType<typeof startWebhookTest>>;

/** A program that receives events, and responds as the test says at the moment. */
export async function startReceiver(first: Answer = ok) {
  const got: Got[] = [];
  const receiver = { answer: first, connections: 0 };
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => {
      const { type, data } = JSON.parse(body);
      const entry = { headers: request.headers, body, type, data, atMs: Date.now() };
      got.push(entry);
      const attempt = got.filter((one) => one.headers["webhook-id"] === request.headers["webhook-id"]).length;
      receiver.answer(entry, response, attempt);
    });
  });
  server.on("connection", () => {
    receiver.connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  return Object.assign(receiver, {
    url,
    got,
    types: () => got.map((entry) => entry.type),
    has: (count: number) => until(`the receiver got ${count} requests`, () => got.length >= count),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}
