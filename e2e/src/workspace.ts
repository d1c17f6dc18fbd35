import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Client, openClient, type Role } from "../../client/src/client.ts";
import { until } from "../../server/src/testing/until.ts";
import { defaultTelegramAccount } from "../../simulator/src/default-accounts.ts";
import { adminPassword, type TestHub } from "./harness.ts";
import type { Person } from "./people.ts";

/** Someone who can log in, and is. */
export interface Caller {
  userId: string;
  username: string;
  token: string;
  client: Client;
}

/** A workspace of a test hub, with one user of each role; `outsider` is a member who is in no conversation. */
export interface Workspace {
  workspaceId: string;
  hub: TestHub;
  admin: Caller;
  agent: Caller;
  member: Caller;
  outsider: Caller;
}

/** The hub's first workspace. */
export async function firstWorkspace(hub: TestHub): Promise<Workspace> {
  return workspaceOf(hub, await logIn(hub, "admin"));
}

/** Another one, which has nothing to do with the first. */
export async function anotherWorkspace(hub: TestHub): Promise<Workspace> {
  const username = `admin-${randomUUID().slice(0, 8)}`;
  const admin = { username, email: `${username}@example.com`, password: adminPassword };
  await hub.admin.workspaces.create({ name: "Another", admin });
  return workspaceOf(hub, await logIn(hub, username));
}

async function workspaceOf(hub: TestHub, admin: Caller): Promise<Workspace> {
  const { workspace_id } = await admin.client.auth.me();
  const [agent, member, outsider] = await Promise.all([
    newUser(hub, admin, "agent"),
    newUser(hub, admin, "member"),
    newUser(hub, admin, "member"),
  ]);
  return { workspaceId: workspace_id, hub, admin, agent, member, outsider };
}

export async function newUser(hub: TestHub, admin: Caller, role: Role): Promise<Caller> {
  const { username } = await hub.user(role, `A ${role}`, admin.client);
  return logIn(hub, username);
}

async function logIn(hub: TestHub, username: string): Promise<Caller> {
  const answer = await openClient({ url: hub.url }).auth.logIn({ username, password: adminPassword });
  const { user_id: userId, access_token: token } = answer;
  return { userId, username, token, client: hub.clientFor(token) };
}

/** A bot of the simulator's own platform, connected to this workspace: people who write to it write here. */
export async function connectBot({ hub, admin }: Workspace, name = "A bot"): Promise<string> {
  const connected = await admin.client.channelAccounts.create({
    channel: "telegram",
    name,
    credentials: {
      bot_token: defaultTelegramAccount.bot_token,
      secret_token: randomUUID().replaceAll("-", ""),
    },
    settings: { base_url: `${hub.simulator.url}/telegram`, rate_per_second: 10_000 },
  });
  return connected.channel_account_id;
}

/** A bot that the platform does not know. */
export async function connectIdleBot({ hub, admin }: Workspace): Promise<string> {
  const number = Math.floor(Math.random() * 1e9);
  const connected = await admin.client.channelAccounts.create({
    channel: "telegram",
    name: "An idle bot",
    credentials: {
      bot_token: `${number}:${randomUUID().replaceAll("-", "")}abc`,
      secret_token: randomUUID().replaceAll("-", ""),
    },
    settings: { base_url: `${hub.simulator.url}/telegram` },
    verify: false,
  });
  return connected.channel_account_id;
}

export function text(words: string) {
  return { type: "text" as const, text: words };
}

/** A message of the admin to the person that the platform refused: its delivery is a dead letter. */
export async function deadLetterFor({ hub, admin }: Workspace, person: Person): Promise<string> {
  await hub.simulator.break({ channel: person.channel, fault: "permanent", to: person.identifier, count: 1 });
  const { message_id } = await admin.client.messages.send({
    to: person.address,
    payload: text("This is not delivered."),
  });
  return until("there is a dead letter", async () => {
    const { data } = await admin.client.deadLetters.list();
    return data.filter((letter) => letter.kind !== "webhook").find((letter) => letter.message_id === message_id)
      ?.delivery_id;
  });
}

/** A program that accepts every event. */
export async function openReceiver() {
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(204).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
