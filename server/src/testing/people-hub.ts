import type { CodeToSend } from "../channel-accounts/channel-accounts.ts";
import type { Capabilities } from "../connectors/connector.ts";
import { type ReadRange, readConversation, typeInConversation } from "../conversations/conversations.ts";
import type { Principal } from "../credentials/credentials.ts";
import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { run } from "../lib/query.ts";
import { showMessages } from "../messages/messages.ts";
import { addressRoutes } from "../rest/addresses.ts";
import { contactRoutes } from "../rest/contacts.ts";
import { conversationRoutes } from "../rest/conversations.ts";
import { type Answer, openRestHub } from "./rest-hub.ts";
import { addUser, addWorkspace, testParseAddress } from "./test-people.ts";

export type PeopleHub = Awaited<ReturnType<typeof startPeopleHub>>;

export const startMs = Date.parse("2026-11-20T12:00:00.123Z");

/**
 * The routes of contacts, addresses and conversations on a real port over a real database. Callers are accepted by name;
 * the clock moves on by a millisecond whenever it is read.
 */
export async function startPeopleHub() {
  const hub = await openRestHub();
  const { db: pool, databaseUrl } = hub;
  const callers = new Map<string, Principal>();
  const readRanges: ReadRange[] = [];
  let nowMs = startMs;
  const clock: Clock = { now: () => nowMs++, elapsed: () => nowMs, after: () => () => {} };
  const authenticate = (authorization: string | undefined) => {
    const caller = callers.get(authorization?.slice("Bearer ".length) ?? "");
    if (caller === undefined) throw new RequestError("AUTH_REQUIRED", "No caller has this name.");
    return caller;
  };
  const deps = { clock, parseAddress: testParseAddress };
  const codes: CodeToSend[] = [];
  const findCodeRoute = async (_db: unknown, _workspaceId: string, channel: string) => ({
    channel,
    help: "",
    send: (code: CodeToSend) => void codes.push(code),
  });
  const first = await hub.open({ authenticate }, (app) => {
    contactRoutes(app, deps);
    addressRoutes(app, { ...deps, findCodeRoute });
    conversationRoutes(app, {
      ...deps,
      showMessages,
      typingNotifier: { notify() {} },
      signals: {
        read: (db, principal, conversationId, seq) => {
          const saveMarks = async (_tx: unknown, range: ReadRange) => void readRanges.push(range);
          return readConversation({ db, clock, saveMarks }, principal, conversationId, seq);
        },
        mayType: typeInConversation,
        sendReadMarks: async () => [],
        showTyping: async () => [],
      },
      capabilitiesOf: (channel) => testCapabilities[channel] ?? null,
    });
  });

  function call(caller: Principal, method: string, path: string, body?: unknown): Promise<Answer> {
    callers.set(caller.callerId, caller);
    return first.call(`${method} ${path}`, { token: caller.callerId, body });
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
    databaseUrl,
    call,
    openWorkspace,
    addMessages,
    readRanges,
    [Symbol.asyncDispose]: () => hub[Symbol.asyncDispose](),
  };
}

const testCapabilities: Record<string, Capabilities> = {
  phone: {
    payloads: ["text", "file", "template"],
    maxTextLength: 4096,
    media: [{ kind: "image", contentTypes: ["image/png"], maxBytes: 1_000, maxCaptionLength: 100 }],
    receipts: ["sent", "delivered", "read"],
    replies: true,
    ratePerSecond: 80,
    windowHours: 24,
    afterUnknown: "receipt",
    typing: "answer",
    readMarks: true,
  },
  chat: {
    payloads: ["text"],
    maxTextLength: 1000,
    media: [],
    receipts: ["sent"],
    replies: false,
    ratePerSecond: 30,
    windowHours: null,
    afterUnknown: "resend",
    typing: "always",
    readMarks: false,
  },
};
