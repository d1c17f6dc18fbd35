import type { AddressInfo } from "node:net";
import { pino } from "pino";
import type { CodeToSend } from "../channel-accounts/channel-accounts.ts";
import type { Capabilities } from "../connectors/connector.ts";
import { type ReadRange, readConversation, typeInConversation } from "../conversations/conversations.ts";
import type { Principal } from "../credentials/credentials.ts";
import { openDatabases } from "../databases.ts";
import { RequestError } from "../errors.ts";
import { openRestServer } from "../http/server.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { run } from "../lib/query.ts";
import { showMessages } from "../messages/messages.ts";
import { addressRoutes } from "../rest/addresses.ts";
import { contactRoutes } from "../rest/contacts.ts";
import { conversationRoutes } from "../rest/conversations.ts";
import { addUser, addWorkspace, openTestPool, testParseAddress } from "./test-people.ts";

/** An answer as a test reads it. Bodies are checked by the assertions on them. */
// biome-ignore lint/suspicious/noExplicitAny: a test asserts on what came, whatever its type
export type Answer = { status: number; body: any };

export type PeopleHub = Awaited<ReturnType<typeof startPeopleHub>>;

export const startMs = Date.parse("2026-11-20T12:00:00.123Z");

/**
 * The routes of contacts, addresses and conversations on a real port over a real database. Callers are believed by name;
 * the clock moves on by a millisecond whenever it is read.
 */
export async function startPeopleHub() {
  const { pool, ...database } = await openTestPool();
  const callers = new Map<string, Principal>();
  const readRanges: ReadRange[] = [];
  let nowMs = startMs;
  const clock: Clock = { now: () => nowMs++, elapsed: () => nowMs, after: () => () => {} };
  const log = pino({ level: process.env.TEST_LOG_LEVEL ?? "silent" });
  const databases = openDatabases({ url: database.url, size: 12, log });
  const app = await openRestServer({
    log,
    dbOf: databases.dbOf,
    authenticate(authorization) {
      const caller = callers.get(authorization?.slice("Bearer ".length) ?? "");
      if (caller === undefined) throw new RequestError("AUTH_REQUIRED", "Nobody is called so.");
      return caller;
    },
  });
  const deps = { clock, parseAddress: testParseAddress };
  contactRoutes(app, deps);
  const codes: CodeToSend[] = [];
  const findCodeRoute = async (_db: unknown, _workspaceId: string, channel: string) => ({
    channel,
    help: "",
    send: (code: CodeToSend) => void codes.push(code),
  });
  addressRoutes(app, { ...deps, findCodeRoute });
  conversationRoutes(app, {
    ...deps,
    showMessages,
    tellTyping: () => {},
    signals: {
      read: (db, principal, conversationId, seq) => {
        const markRead = async (_tx: unknown, range: ReadRange) => void readRanges.push(range);
        return readConversation({ db, clock, markRead }, principal, conversationId, seq);
      },
      mayType: typeInConversation,
      sendReadMarks: async () => [],
      showTyping: async () => [],
    },
    capabilitiesOf: (channel) => testCapabilities[channel] ?? null,
  });
  await app.listen({ port: 0, host: "127.0.0.1" });
  const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;

  async function call(caller: Principal, method: string, path: string, body?: unknown): Promise<Answer> {
    callers.set(caller.callerId, caller);
    const headers = {
      authorization: `Bearer ${caller.callerId}`,
      ...(body ? { "content-type": "application/json" } : {}),
    };
    const answer = await fetch(url + path, { method, headers, body: body ? JSON.stringify(body) : null });
    const text = await answer.text();
    return { status: answer.status, body: text ? JSON.parse(text) : null };
  }

  /** A workspace with an admin, an agent and two members, and what each of them can ask for. */
  async function openWorkspace() {
    const workspaceId = await addWorkspace(pool);
    const [admin, agent, eva, leo] = [
      await addUser(pool, workspaceId, "Ada", "admin"),
      await addUser(pool, workspaceId, "Rui", "agent"),
      await addUser(pool, workspaceId, "Eva"),
      await addUser(pool, workspaceId, "Léo"),
    ];
    async function addContact(display_name: string, ...addresses: string[]): Promise<string> {
      const { body } = await call(agent, "POST", "/v1/contacts", { display_name, addresses });
      return body.contact_id;
    }
    async function addConversation(...members: unknown[]): Promise<string> {
      const type = members.length === 2 ? "private" : "group";
      const { body } = await call(agent, "POST", "/v1/conversations", { type, members });
      return body.conversation_id;
    }
    return { workspaceId, admin, agent, eva, leo, addContact, addConversation };
  }

  /** As accepting messages leaves it: `seq` 1, 2, 3 … without gaps. */
  async function addMessages(conversationId: string, senderId: string, count: number): Promise<void> {
    const at = new Date(clock.now());
    await run(
      pool,
      `INSERT INTO messages (message_id, workspace_id, conversation_id, seq, sender_id, direction, payload, created_at)
       SELECT id, workspace_id, conversation_id, last_seq + place, $2, 'outbound', '{"type": "text", "text": "oi"}', $4
       FROM conversations, unnest($3::uuid[]) WITH ORDINALITY AS m (id, place) WHERE conversation_id = $1`,
      [conversationId, senderId, Array.from({ length: count }, () => newId(Date.now())), at],
    );
    const text = "UPDATE conversations SET last_seq = last_seq + $2, active_at = $3 WHERE conversation_id = $1";
    await run(pool, text, [conversationId, count, at]);
  }

  return {
    pool,
    databaseUrl: database.url,
    call,
    openWorkspace,
    addMessages,
    readRanges,
    async [Symbol.asyncDispose]() {
      await app.close();
      await databases[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

const testCapabilities: Record<string, Capabilities> = {
  phone: {
    payloads: ["text", "file", "template"],
    maxTextLength: 4096,
    receipts: ["sent", "delivered", "read"],
    replies: true,
    ratePerSecond: 80,
    windowHours: 24,
    unknown: "receipt",
    typing: "answer",
    readMarks: true,
  },
  chat: {
    payloads: ["text"],
    maxTextLength: 1000,
    receipts: ["sent"],
    replies: false,
    ratePerSecond: 30,
    windowHours: null,
    unknown: "resend",
    typing: "always",
    readMarks: false,
  },
};
