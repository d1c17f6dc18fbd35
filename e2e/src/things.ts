import { randomUUID } from "node:crypto";
import { makePng } from "../../server/src/testing/test-documents.ts";
import { until } from "../../server/src/testing/until.ts";
import { startTestHub } from "./harness.ts";
import {
  connectIdleBot,
  deadLetterFor,
  firstWorkspace,
  newUser,
  openReceiver,
  text,
  type Workspace,
} from "./workspace.ts";

/** Ids of things of one workspace, for requests to name. */
export interface Things {
  contact(): Promise<string>;
  /** A group of the admin, the agent, the member and a contact. */
  conversation(): Promise<string>;
  /** Said by the member in such a group. */
  message(): Promise<string>;
  /** Uploaded by the member to such a group. */
  file(): Promise<string>;
  /** A file that has a thumbnail. */
  picture(): Promise<string>;
  /** Of the member, and cancelled. */
  task(): Promise<string>;
  user(): Promise<string>;
  /** One who began a second factor. */
  carefulUser(): Promise<string>;
  /** Of the member. */
  apiKey(): Promise<string>;
  invitation(): Promise<string>;
  account(): Promise<string>;
  deadLetter(): Promise<string>;
  endpoint(): Promise<string>;
  /** An attempt to send an event to an endpoint: both ids. */
  attempt(): Promise<{ id: string; attempt_id: string }>;
}

/** A hub, its first workspace, and new things of that. What is opened is added to `opened`. */
export async function openHome(opened: AsyncDisposableStack) {
  const hub = opened.use(await startTestHub({ env: { WEBHOOKS_ALLOW_PRIVATE: "true" } }));
  const home = await firstWorkspace(hub);
  return { hub, home, things: newThings(home, opened.use(await openReceiver()).url) };
}

/** Makes a new one whenever it is asked. `receiverUrl` takes the events. */
export function newThings(workspace: Workspace, receiverUrl: string): Things {
  const { hub, admin, agent, member } = workspace;
  const contact = async () => {
    const made = await admin.client.contacts.create({ display_name: "A contact", addresses: [newAddress()] });
    return made.contact_id;
  };
  const conversation = async () => {
    const members = [admin.userId, agent.userId, member.userId, await contact()];
    return (await admin.client.conversations.create({ type: "group", title: "Some", members })).conversation_id;
  };
  const message = async () => {
    const said = { conversation_id: await conversation(), payload: text("Something to keep to ourselves.") };
    return (await member.client.messages.send(said)).message_id;
  };
  const endpoint = async () =>
    (await admin.client.webhookEndpoints.create({ url: receiverUrl, events: ["*"] })).webhook_endpoint_id;
  const file = async () => {
    const options = { filename: "notes.txt", conversation_id: await conversation() };
    return (await member.client.files.upload(new Blob(["Something to keep to ourselves."]), options)).file_id;
  };
  const picture = async () => {
    const options = { filename: "dot.png", conversation_id: await conversation() };
    const png = makePng(new Uint8Array(100), 10, 10) as Buffer<ArrayBuffer>;
    const { file_id } = await member.client.files.upload(new Blob([png]), options);
    await until("it has a thumbnail", async () => (await member.client.files.get(file_id)).has_thumbnail);
    return file_id;
  };
  return {
    contact,
    conversation,
    message,
    file,
    picture,
    async task() {
      const file_id = await file();
      return until("a task is cancelled before it ends", async () => {
        const { task_id } = await member.client.documents.extract(file_id);
        return (await member.client.tasks.cancel(task_id)).task_id;
      });
    },
    user: async () => (await newUser(hub, admin, "member")).userId,
    async carefulUser() {
      const { client, userId } = await newUser(hub, admin, "member");
      await client.call("POST", "/v1/me/totp");
      return userId;
    },
    apiKey: async () => (await member.client.apiKeys.create({ name: "Some key", scopes: ["*"] })).api_key_id,
    async invitation() {
      const body = { email: `${randomUUID()}@example.com`, role: "agent" };
      return (await admin.client.call<{ invitation_id: string }>("POST", "/v1/invitations", { body })).body
        .invitation_id;
    },
    account: () => connectIdleBot(workspace),
    deadLetter: () => deadLetterFor(workspace, hub.person("telegram")),
    endpoint,
    async attempt() {
      const id = await endpoint();
      await message();
      const attempt_id = await until("the endpoint has an attempt", async () => {
        const { data } = await admin.client.webhookEndpoints.attempts(id);
        return data[0]?.attempt_id;
      });
      return { id, attempt_id };
    },
  };
}

/** Makes each the first time, and names the same one from then on. */
export function keptThings(things: Things): Things {
  const kept = new Map<string, Promise<unknown>>();
  const keep = ([name, make]: [string, () => Promise<unknown>]) => [
    name,
    () => kept.get(name) ?? kept.set(name, make()).get(name)!,
  ];
  return Object.fromEntries(Object.entries(things).map(keep));
}

let addresses = 0;

/** Unused; not one of `hub.person`. */
export function newAddress(): string {
  addresses += 1;
  return `telegram:${500_000_000 + addresses}`;
}
