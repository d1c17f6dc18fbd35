import type { Role } from "../../../contract/src/access.ts";
import { addressParser } from "../contacts/contacts.ts";
import { noOrigin, type Principal } from "../credentials/credentials.ts";
import { newId } from "../lib/ids.ts";
import { openPool, type Pool } from "../lib/postgres.ts";
import { one, run } from "../lib/query.ts";
import { createTestDatabase } from "./test-database.ts";

/** For tests: two channels as connectors would describe them. */
const testChannels = [
  {
    channel: "phone",
    identifierRule: "a number",
    parseIdentifier: (text: string) => /^\+?([0-9]{5,15})$/.exec(text.replaceAll(" ", ""))?.[1] ?? null,
  },
  {
    channel: "chat",
    identifierRule: "letters and digits",
    parseIdentifier: (text: string) => (/^[a-z0-9-]{1,200}$/.test(text) ? text : null),
  },
];

export const testParseAddress = addressParser(testChannels);

const poolSize = 12;

/** For tests: a database and a pool on it. */
export async function openTestPool() {
  const database = await createTestDatabase();
  const log = { info() {}, warn() {}, error() {} };
  const pool = openPool({ url: database.url, size: poolSize, applicationName: "test", log });
  // One after the other: a slow machine does not open so many at once within the timeout of one connection.
  const clients = [];
  for (let count = 0; count < poolSize; count += 1) clients.push(await pool.connect());
  for (const client of clients) client.release();
  return {
    pool,
    url: database.url,
    async [Symbol.asyncDispose]() {
      await pool.end();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** For tests: a workspace, which is a participant itself. Returns its id. */
export async function addWorkspace(pool: Pool, name = "Acme"): Promise<string> {
  const id = newId(Date.now());
  await run(pool, "INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, $2, now())", [id, name]);
  await addParticipant(pool, id, id, "workspace", name);
  return id;
}

/** For tests: a user who can log in, as the principal that it calls as. */
export async function addUser(
  pool: Pool,
  workspaceId: string,
  name: string,
  role: Role = "member",
): Promise<Principal> {
  const id = newId(Date.now());
  await addParticipant(pool, id, workspaceId, "user", name);
  await run(
    pool,
    `INSERT INTO users (user_id, workspace_id, username, email, role, created_at)
     VALUES ($1, $2, $3, $3 || '@example.com', $4, now())`,
    [id, workspaceId, `${name}-${id}`, role],
  );
  const principal = { kind: "user", callerId: id, workspaceId, role, userId: id, participantId: id } as const;
  return { ...principal, sessionId: null, scopes: ["*"], rateLimit: null, origin: noOrigin };
}

/** For tests: the key of an agent or admin, which writes as the workspace. */
export function keyOf(user: Principal): Principal {
  return { ...user, kind: "api_key", callerId: newId(Date.now()), participantId: user.workspaceId };
}

/** For tests: how many rows a table has. */
export async function countRows(pool: Pool, table: string): Promise<number> {
  return (await one<{ count: number }>(pool, `SELECT count(*) FROM ${table}`)).count;
}

async function addParticipant(pool: Pool, id: string, workspaceId: string, kind: string, name: string) {
  await run(
    pool,
    `INSERT INTO participants (participant_id, workspace_id, kind, display_name, created_at)
     VALUES ($1, $2, $3, $4, now())`,
    [id, workspaceId, kind, name],
  );
}
