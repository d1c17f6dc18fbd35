import { createHmac, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { startEmbeddedPostgres } from "../../../embedded-postgres/src/embedded-postgres.ts";
import { readPidFile } from "../../../embedded-postgres/src/processes.ts";
import { lookUps } from "../../../server/src/databases.ts";
import { newId } from "../../../server/src/lib/ids.ts";
import { openPool, type Pool, withSettings } from "../../../server/src/lib/postgres.ts";
import { defaultWhatsAppAccount as account } from "../../../simulator/src/default-accounts.ts";
import { serve } from "../child.ts";
import { Floor, type Lane } from "./floor/floor.ts";
import { openPlatform } from "./floor/platform.ts";

export type FloorOrder = { kind: "start"; dataDir: string; simulatorUrl: string; people: number } | { kind: "stop" };

export interface StartedFloor {
  url: string;
  databaseUrl: string;
  postmasterPid: number;
  conversationIds: string[];
  /** Of the person in the conversation at the same place. */
  identifiers: string[];
}

const log = { info() {}, warn() {}, error: (fields: object, message: string) => console.error(message, fields) };
const resources = new AsyncDisposableStack();

serve(async (order: FloorOrder) => {
  if (order.kind === "stop") return resources.disposeAsync();
  return start(order);
});

async function start({ dataDir, simulatorUrl, people }: FloorOrder & { kind: "start" }): Promise<StartedFloor> {
  const postgres = resources.use(await startEmbeddedPostgres({ dataDir, log, onFailed: fail }));
  const open = (name: string, settings: string[]) =>
    resources.adopt(
      openPool({ url: withSettings(postgres.url, settings), size: 2, applicationName: `floor ${name}`, log }),
      (pool) => pool.end(),
    );
  const pipelineDb = open("pipeline", lookUps);
  const workspaceId = newId(Date.now());
  const lanes = await makeLanes(pipelineDb, workspaceId, people);
  const acceptDb = open("accept", [...lookUps, "role=floor_accept", `floor.workspace_id=${workspaceId}`]);
  const channelAccountId = newId(Date.now());
  const platform = openPlatform(simulatorUrl);
  const floor = new Floor({ acceptDb, pipelineDb, workspaceId, channelAccountId, lanes, platform, onFailed: fail });
  const server = createServer((request, response) => {
    handle(floor, request, response).catch((error) => {
      log.error({ error }, "a request failed");
      response.writeHead(500).end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  resources.defer(() => server.closeAllConnections());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await subscribe(simulatorUrl, `${url}/webhooks`);
  return {
    url,
    databaseUrl: postgres.url,
    postmasterPid: readPidFile(join(dataDir, "postgres"))!.pid,
    conversationIds: lanes.map(({ conversationId }) => conversationId),
    identifiers: lanes.map(({ identifier }) => identifier),
  };
}

function fail(error: unknown): void {
  log.error({ error }, "the floor failed");
  process.exit(1);
}

async function makeLanes(db: Pool, workspaceId: string, people: number): Promise<Lane[]> {
  await db.query(readFileSync(new URL("./floor/schema.sql", import.meta.url), "utf8"));
  await db.query("INSERT INTO event_heads VALUES ($1, 0)", [workspaceId]);
  const lanes = Array.from({ length: people }, (_, index): Lane => {
    const [conversationId, recipientId, laneId] = [newId(Date.now()), newId(Date.now()), newId(Date.now())];
    return { conversationId, recipientId, laneId, identifier: `+55119${10_000_000 + index}` };
  });
  const ids = lanes.map(({ conversationId }) => conversationId);
  const insert = "INSERT INTO conversations (workspace_id, conversation_id) SELECT $1, unnest($2::uuid[])";
  await db.query(insert, [workspaceId, ids]);
  return lanes;
}

async function subscribe(simulatorUrl: string, webhookUrl: string): Promise<void> {
  const answer = await fetch(`${simulatorUrl}/whatsapp/v23.0/${account.phone_number_id}`, {
    method: "POST",
    headers: { authorization: `Bearer ${account.access_token}`, "content-type": "application/json" },
    body: JSON.stringify({
      webhook_configuration: { override_callback_uri: webhookUrl, verify_token: account.verify_token },
    }),
  });
  if (!answer.ok) throw new Error(`The simulator refused the webhook's URL: ${await answer.text()}`);
}

async function handle(floor: Floor, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === "GET") {
    response.end(new URL(request.url!, "http://floor").searchParams.get("hub.challenge") ?? "");
  } else if (request.url === "/v1/messages") {
    const { conversation_id, payload } = JSON.parse((await readBody(request)).toString());
    const { messageId, seq, createdAt } = await floor.accept(conversation_id, payload);
    const created_at = createdAt.toISOString();
    answer(response, 202, { message_id: messageId, conversation_id, seq, status: "accepted", created_at });
  } else {
    const body = await readBody(request);
    if (!isSigned(request, body)) return answer(response, 401, {});
    await floor.receive(body);
    answer(response, 200, {});
  }
}

function readBody(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.once("end", () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
    request.once("error", reject);
  });
}

function answer(response: ServerResponse, status: number, body: object): void {
  const json = JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json", "content-length": json.length }).end(json);
}

function isSigned(request: IncomingMessage, body: Buffer): boolean {
  const given = Buffer.from(String(request.headers["x-hub-signature-256"]));
  const right = Buffer.from(`sha256=${createHmac("sha256", account.app_secret).update(body).digest("hex")}`);
  return given.length === right.length && timingSafeEqual(given, right);
}
