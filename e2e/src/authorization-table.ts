/**
 * Who may call what, written by hand: one row for each route of the OpenAPI document. `authorization.test.ts` makes of
 * it every call that must be refused and every one that must not.
 */
import { createHash, randomUUID } from "node:crypto";
import type { Scope } from "../../contract/src/access.ts";
import { feedScopes } from "../../contract/src/events.ts";
import { adminPassword } from "./harness.ts";
import { newAddress, type Things } from "./things.ts";
import { newUser, text, type Workspace } from "./workspace.ts";

export interface Request {
  /** For the names in braces. */
  params?: Record<string, string>;
  query?: Record<string, string>;
  body?: unknown;
  /** Instead of a body. */
  form?: () => FormData;
}

export interface Given {
  workspace: Workspace;
  things: Things;
  /** Who calls; for an API key the user who made it. */
  userId: string;
}

export interface Row {
  /** The least role, and the scope that an API key needs; `session`: no API key may. */
  access: "public" | { role: "member" | "agent" | "admin"; scope?: Scope | readonly Scope[]; session?: true };
  /** A call that is valid. */
  call?: (given: Given) => Request | Promise<Request>;
  /** The status that a caller gets who may. */
  answer: number;
  /**
   * The status that an admin of another workspace gets for the same call. `own`: the call names nothing that could be
   * another's, and shows only the caller's workspace.
   */
  stranger?: number | "own";
  /** The status that an API key gets instead, with any scopes. */
  toKeys?: number;
  /**
   * The status for a member of the workspace who has nothing to do with what is named; left out where any member may.
   */
  outsider?: number;
}

type Call = NonNullable<Row["call"]>;

/** Sent without credentials by anybody: a browser, a platform, a probe. They are in no OpenAPI document. */
export const openPages = [
  "/",
  "/docs",
  "/docs/swagger-ui.css",
  "/docs/swagger-ui.js",
  "/docs/start.js",
  "/redoc",
  "/redoc/redoc.js",
  "/openapi.json",
];

/** Sockets: no route of an OpenAPI document, and opened by the same callers. */
export const socketAccess = { path: "/ws", role: "member", scope: feedScopes } as const;

function open(answer: number, call?: Call): Row {
  return { access: "public", answer, ...(call ? { call } : {}) };
}

/** Names an id in the path. */
function one(thing: keyof Omit<Things, "attempt">, body?: unknown): Call {
  return async ({ things }) => ({ params: { id: await things[thing]() }, ...(body === undefined ? {} : { body }) });
}

function row(
  role: "member" | "agent" | "admin",
  scope: Scope | readonly Scope[] | null,
  answer: number,
  call: Call = () => ({}),
  rest: Pick<Row, "stranger" | "outsider" | "toKeys"> & { session?: true } = {},
): Row {
  const { session, ...others } = rest;
  const access = { role, ...(scope === null ? {} : { scope }), ...(session ? { session } : {}) };
  return { access, answer, call, stranger: 404, ...others };
}

const own = { stranger: "own" } as const;
const hidden = { outsider: 404 } as const;
/** A key is no member of a conversation. */
const byMembers = { ...hidden, toKeys: 403 } as const;
const longAgo = "2026-01-01T00:00:00.000Z";
const credentials = () => ({
  username: `new-${randomUUID().slice(0, 8)}`,
  email: `${randomUUID()}@example.com`,
  password: adminPassword,
});
const say: Call = async ({ things }) => ({
  body: { conversation_id: await things.conversation(), payload: text("Hello") },
});
/** Of five bytes, by the caller. */
async function startUpload({ workspace: { admin, agent, member }, userId }: Given) {
  const uploader = [admin, agent, member].find((caller) => caller.userId === userId)!;
  return uploader.client.files.initiate({ filename: "notes.txt", size: 5 });
}
const ownUpload: Call = async (given) => ({ params: { id: (await startUpload(given)).file_id } });
const newBot = () => ({
  bot_token: `${Math.floor(Math.random() * 1e9)}:${randomUUID().replaceAll("-", "")}abc`,
  secret_token: "a-secret-token",
});

export const authorizationTable: Readonly<Record<string, Row>> = {
  // Operations, and routes without a credential.
  "GET /healthz": open(200),
  "GET /readyz": open(200),
  "GET /metrics": open(200),
  "GET /.well-known/jwks.json": open(200),
  "POST /auth/register": open(201, () => ({ body: credentials() })),
  "POST /auth/token": open(200, () => ({ body: { username: "admin", password: adminPassword } })),
  "POST /auth/refresh": open(401, () => ({ body: { refresh_token: "c4r_none" } })),
  "POST /auth/password/forgot": open(202, () => ({ body: { email: "nobody@example.com" } })),
  "POST /auth/password/reset": open(401, () => ({ body: { token: "c4p_none", new_password: adminPassword } })),
  "POST /auth/invitations/accept": open(401, () => ({
    body: { token: "c4i_none", username: `new-${randomUUID().slice(0, 8)}`, password: adminPassword },
  })),
  "GET /auth/providers": open(200),
  "GET /auth/oauth/{provider}": open(404, () => ({ params: { provider: "nobody" } })),
  "GET /auth/oauth/{provider}/callback": open(404, () => ({ params: { provider: "nobody" } })),
  "POST /auth/oauth/exchange": open(401, () => ({ body: { code: "none" } })),
  "GET /webhooks/{channel}/{id}": open(404, () => ({ params: { channel: "telegram", id: randomUUID() } })),
  "POST /webhooks/{channel}/{id}": open(404, () => ({ params: { channel: "telegram", id: randomUUID() }, body: {} })),

  // The caller itself.
  "POST /auth/logout": row("member", null, 204, undefined, { ...own, session: true }),
  "POST /auth/logout-everywhere": row("member", null, 204, () => ({ body: {} }), { ...own, session: true }),
  "GET /v1/me": row("member", null, 200, undefined, own),
  "PATCH /v1/me": row("member", "users:write", 200, () => ({ body: { display_name: "Me" } }), own),
  "POST /v1/me/password": row(
    "member",
    null,
    204,
    () => ({ body: { current_password: adminPassword, new_password: `${adminPassword} and more` } }),
    { ...own, session: true },
  ),
  "POST /v1/me/totp": row("member", null, 201, undefined, { ...own, session: true }),
  // The caller has started no setup: an error for callers with access.
  "POST /v1/me/totp/confirm": row("member", null, 409, () => ({ body: { code: "000000" } }), {
    ...own,
    session: true,
  }),
  "DELETE /v1/me/totp": row("member", null, 404, () => ({ body: { code: "000000" } }), {
    ...own,
    session: true,
  }),
  "GET /v1/api-keys": row("member", "api-keys:read", 200, undefined, own),
  "POST /v1/api-keys": row(
    "member",
    "api-keys:write",
    201,
    () => ({ body: { name: "A key", scopes: ["api-keys:write"] } }),
    own,
  ),
  "DELETE /v1/api-keys/{id}": row("member", "api-keys:write", 204, one("apiKey"), hidden),

  // Users.
  "GET /v1/users": row("agent", "users:read", 200, undefined, own),
  "POST /v1/users": row("admin", "users:write", 201, () => ({ body: { ...credentials(), role: "member" } }), own),
  "GET /v1/users/{id}": row("agent", "users:read", 200, one("user")),
  "PATCH /v1/users/{id}": row("admin", "users:write", 200, one("user", { display_name: "Another name" })),
  "DELETE /v1/users/{id}": row("admin", "users:write", 204, one("user")),
  "POST /v1/users/{id}/password-reset": row("admin", "users:write", 201, one("user")),
  "DELETE /v1/users/{id}/totp": row("admin", "users:write", 204, one("carefulUser")),
  // A member gets a code at the address. A key with limited scopes adds none to an admin, not even to its own user.
  "POST /v1/users/{id}/addresses": row(
    "member",
    "users:write",
    202,
    ({ userId }) => ({ params: { id: userId }, body: { address: newAddress() } }),
    { outsider: 403, toKeys: 403 },
  ),
  "POST /v1/users/{id}/addresses/verify": row(
    "member",
    "users:write",
    404,
    ({ userId }) => ({ params: { id: userId }, body: { verification_id: randomUUID(), code: "123456" } }),
    { stranger: 403, outsider: 403, toKeys: 403 },
  ),
  "DELETE /v1/users/{id}/addresses/{address}": row(
    "member",
    "users:write",
    204,
    async ({ userId, workspace }) => {
      const address = newAddress();
      await workspace.admin.client.users.addAddress(userId, address);
      return { params: { id: userId, address } };
    },
    { outsider: 403, toKeys: 403 },
  ),
  "GET /v1/invitations": row("admin", "users:read", 200, undefined, own),
  "POST /v1/invitations": row(
    "admin",
    "users:write",
    201,
    () => ({ body: { email: credentials().email, role: "member" } }),
    own,
  ),
  "DELETE /v1/invitations/{id}": row("admin", "users:write", 204, one("invitation")),

  // The hub's workspaces: for admins of the first one alone.
  "GET /v1/workspaces": row("admin", "workspaces:read", 200, undefined, { stranger: 403 }),
  // It makes an admin, which a key with limited scopes may not.
  "POST /v1/workspaces": row(
    "admin",
    "workspaces:write",
    201,
    () => ({ body: { name: "New", admin: credentials() } }),
    { stranger: 403, toKeys: 403 },
  ),
  "GET /v1/audit-log": row("admin", "audit-log:read", 200, undefined, own),
  "GET /v1/stats": row("admin", "stats:read", 200, undefined, own),
  "GET /v1/audit-log/export": row("admin", "audit-log:read", 200, undefined, own),

  // Contacts.
  "GET /v1/contacts": row("agent", "contacts:read", 200, undefined, own),
  "POST /v1/contacts": row("agent", "contacts:write", 201, () => ({ body: { display_name: "A new contact" } }), own),
  "GET /v1/contacts/{id}": row("agent", "contacts:read", 200, one("contact")),
  "PATCH /v1/contacts/{id}": row("agent", "contacts:write", 200, one("contact", { display_name: "Another name" })),
  "DELETE /v1/contacts/{id}": row("agent", "contacts:write", 204, one("contact")),
  "POST /v1/contacts/{id}/merge": row("agent", "contacts:write", 200, async ({ things, workspace }) => {
    const { contact_id } = await workspace.admin.client.contacts.create({ display_name: "The same one" });
    return { params: { id: await things.contact() }, body: { into: contact_id } };
  }),
  "POST /v1/contacts/{id}/addresses": row("agent", "contacts:write", 201, async ({ things }) => ({
    params: { id: await things.contact() },
    body: { address: newAddress() },
  })),
  "DELETE /v1/contacts/{id}/addresses/{address}": row("agent", "contacts:write", 204, async ({ things, workspace }) => {
    const id = await things.contact();
    const { addresses } = await workspace.admin.client.contacts.get(id);
    return { params: { id, address: addresses[0]! } };
  }),

  // Conversations: a member sees those that it is in.
  "GET /v1/conversations": row("member", "conversations:read", 200, undefined, own),
  "POST /v1/conversations": row(
    "member",
    "conversations:write",
    201,
    async ({ things, userId }) => ({ body: { type: "private", members: [userId, await things.user()] } }),
    { stranger: 400, outsider: 403 },
  ),
  "GET /v1/conversations/{id}": row("member", "conversations:read", 200, one("conversation"), hidden),
  "PATCH /v1/conversations/{id}": row(
    "member",
    "conversations:write",
    200,
    one("conversation", { title: "New" }),
    hidden,
  ),
  "GET /v1/conversations/{id}/capabilities": row("member", "conversations:read", 200, one("conversation"), hidden),
  "GET /v1/conversations/{id}/messages": row("member", "messages:read", 200, one("conversation"), hidden),
  "POST /v1/conversations/{id}/members": row(
    "member",
    "conversations:write",
    201,
    async ({ things, workspace }) => {
      const { userId } = await newUser(workspace.hub, workspace.admin, "member");
      return { params: { id: await things.conversation() }, body: { member: userId } };
    },
    hidden,
  ),
  "DELETE /v1/conversations/{id}/members/{participant_id}": row(
    "member",
    "conversations:write",
    204,
    async ({ things, userId }) => ({ params: { id: await things.conversation(), participant_id: userId } }),
    hidden,
  ),
  "POST /v1/conversations/{id}/read": row(
    "member",
    "conversations:write",
    204,
    one("conversation", { seq: 0 }),
    byMembers,
  ),
  "POST /v1/conversations/{id}/typing": row("member", "conversations:write", 204, one("conversation", {}), byMembers),

  // Messages.
  "POST /v1/messages": row("member", "messages:write", 202, say, hidden),
  "POST /v1/messages/batch": row(
    "member",
    "messages:write",
    200,
    async (given) => ({ body: { messages: [(await say(given)).body] } }),
    // Each message is refused separately.
    { stranger: 200, outsider: 200 },
  ),
  "POST /v1/messages/preflight": row("member", "messages:write", 200, say, hidden),
  "GET /v1/messages/{id}": row("member", "messages:read", 200, one("message"), hidden),
  "GET /v1/messages/{id}/events": row("member", "messages:read", 200, one("message"), hidden),
  "GET /v1/messages/{id}/trace": row("agent", "messages:read", 200, one("message")),
  "GET /v1/dead-letters": row("agent", "messages:read", 200, undefined, own),
  "POST /v1/dead-letters/replay": row("agent", "messages:write", 202, () => ({ body: { code: "NONE" } }), own),
  "POST /v1/dead-letters/{id}/replay": row("agent", "messages:write", 202, one("deadLetter")),
  "DELETE /v1/dead-letters/{id}": row("agent", "messages:write", 204, one("deadLetter")),

  // Channel accounts.
  "GET /v1/channel-accounts": row("agent", "channel-accounts:read", 200, undefined, own),
  "POST /v1/channel-accounts": row(
    "admin",
    "channel-accounts:write",
    201,
    ({ workspace: { hub } }) => ({
      body: {
        channel: "telegram",
        name: "A bot",
        credentials: newBot(),
        settings: { base_url: `${hub.simulator.url}/telegram` },
        verify: false,
      },
    }),
    own,
  ),
  "GET /v1/channel-accounts/{id}": row("agent", "channel-accounts:read", 200, one("account")),
  "PATCH /v1/channel-accounts/{id}": row(
    "admin",
    "channel-accounts:write",
    200,
    one("account", { name: "Another name" }),
  ),
  "DELETE /v1/channel-accounts/{id}": row("admin", "channel-accounts:write", 204, one("account")),
  "GET /v1/channel-accounts/{id}/health": row("agent", "channel-accounts:read", 200, one("account")),
  "POST /v1/channel-accounts/{id}/verify": row("admin", "channel-accounts:write", 200, one("account")),

  // Files: an upload is its uploader's.
  "POST /v1/files": row(
    "member",
    "files:write",
    201,
    () => ({
      form() {
        const form = new FormData();
        form.set("file", new Blob(["hello"]), "notes.txt");
        return form;
      },
    }),
    own,
  ),
  "POST /v1/files/initiate": row(
    "member",
    "files:write",
    201,
    () => ({ body: { filename: "notes.txt", size: 5 } }),
    own,
  ),
  "POST /v1/files/complete": row(
    "member",
    "files:write",
    200,
    async (given) => {
      const { file_id, parts } = await startUpload(given);
      await fetch(parts[0]!.url, { method: "PUT", body: "hello" });
      return { body: { file_id, checksum: createHash("sha256").update("hello").digest("hex") } };
    },
    hidden,
  ),
  "GET /v1/files/{id}/parts": row("member", "files:write", 200, ownUpload, hidden),
  "GET /v1/files": row("member", "files:read", 200, undefined, own),
  "GET /v1/files/{id}": row("member", "files:read", 200, one("file"), hidden),
  "POST /v1/documents/{id}/extract": row("member", ["tasks:write", "files:read"], 202, one("file"), hidden),
  "POST /v1/documents/{id}/summarize": row(
    "member",
    ["tasks:write", "files:read"],
    202,
    one("file", { style: "brief" }),
    hidden,
  ),
  "GET /v1/tasks": row("member", "tasks:read", 200, undefined, own),
  "GET /v1/tasks/{id}": row("member", "tasks:read", 200, one("task"), hidden),
  "POST /v1/tasks/{id}/cancel": row("member", "tasks:write", 200, one("task"), hidden),
  "GET /v1/files/{id}/download": row("member", "files:read", 200, one("file"), hidden),
  "GET /v1/files/{id}/thumbnail": row("member", "files:read", 200, one("picture"), hidden),
  "DELETE /v1/files/{id}": row("member", "files:write", 204, ownUpload, hidden),

  // Events, and webhook endpoints.
  "GET /v1/events": row("member", feedScopes, 200, undefined, own),
  "GET /v1/webhook-endpoints": row("admin", "webhook-endpoints:read", 200, undefined, own),
  "POST /v1/webhook-endpoints": row(
    "admin",
    "webhook-endpoints:write",
    201,
    () => ({ body: { url: "http://127.0.0.1:65000/events", events: ["conversation.updated"] } }),
    // A key also needs the scopes that read the events: see scopes.test.ts.
    { ...own, toKeys: 403 },
  ),
  "GET /v1/webhook-endpoints/{id}": row("admin", "webhook-endpoints:read", 200, one("endpoint")),
  "PATCH /v1/webhook-endpoints/{id}": row(
    "admin",
    "webhook-endpoints:write",
    200,
    one("endpoint", { description: "New" }),
    // Here and below: the endpoint gets all events, and the key may read only some of them.
    { toKeys: 403 },
  ),
  "DELETE /v1/webhook-endpoints/{id}": row("admin", "webhook-endpoints:write", 204, one("endpoint")),
  "POST /v1/webhook-endpoints/{id}/rotate-secret": row("admin", "webhook-endpoints:write", 200, one("endpoint", {}), {
    toKeys: 403,
  }),
  "POST /v1/webhook-endpoints/{id}/test": row("admin", "webhook-endpoints:write", 200, one("endpoint")),
  "POST /v1/webhook-endpoints/{id}/replay": row(
    "admin",
    "webhook-endpoints:write",
    202,
    one("endpoint", { from: longAgo }),
    { toKeys: 403 },
  ),
  "GET /v1/webhook-endpoints/{id}/attempts": row("admin", "webhook-endpoints:read", 200, one("endpoint")),
  "POST /v1/webhook-endpoints/{id}/attempts/{attempt_id}/replay": row(
    "admin",
    "webhook-endpoints:write",
    202,
    async ({ things }) => ({ params: await things.attempt() }),
    { toKeys: 403 },
  ),
};
