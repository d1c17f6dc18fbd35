import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import {
  type Channel,
  type Client,
  type Conversation,
  type Message,
  openClient,
  type Role,
} from "../../client/src/client.ts";
import { loadConfig } from "../../server/src/config/config.ts";
import { connectors } from "../../server/src/connectors/registry.ts";
import { startHub } from "../../server/src/hub.ts";
import { type Clock, systemClock } from "../../server/src/lib/clock.ts";
import { openLogger } from "../../server/src/lib/log.ts";
import { fuseOfTests } from "../../server/src/testing/hub-process.ts";
import { patient } from "../../server/src/testing/patience.ts";
import { createTestDatabase } from "../../server/src/testing/test-database.ts";
import { until } from "../../server/src/testing/until.ts";
import { topics } from "../../server/src/topics.ts";
import { startSimulator } from "../../simulator/src/simulator.ts";
import { checkAnswersOf, requireValidAnswers } from "./checked-answers.ts";
import type { Frame } from "./listener.ts";
import { openPerson, type Person } from "./people.ts";
import { openSimulatorClient } from "./simulator-client.ts";

export const adminPassword = "a password for tests";

/**
 * Platforms that take any message at any time, for tests that are not about who may write first. The second form is for
 * a simulator in a separate process.
 */
export const openPlatforms = { enforceWindow: false };
export const openPlatformsEnv = { SIMULATOR_ENFORCE_WINDOW: "false" };

/** What every hub on a database that is not its own must be given. */
export const sharedSecrets = { JWT_SECRET: "j".repeat(32), ENCRYPTION_KEY: "ab".repeat(32) };

/** Tests that are not about limits do quickly what people do slowly. */
export const noLimits = {
  RATE_LIMIT_USER: "off",
  RATE_LIMIT_ADDRESS: "off",
  SOCKETS_PER_USER: "1000000",
  SOCKETS_PER_ADDRESS: "1000000",
  // So that a slow machine refuses nothing.
  ADMISSION_WAIT: "1m",
  ACCEPT_MAX_WAIT: "1m",
};

/** A slow machine must not take a slow response for none, nor a slow process for a dead one. */
const quickMs = `${patient(1_000)}ms`;

/** Retries quick enough for a test. */
export const quickRetries = {
  DELIVERY_RETRY_BASE: "50ms",
  DELIVERY_RETRY_MAX: "500ms",
  DELIVERY_TIMEOUT: quickMs,
  UNKNOWN_GRACE: quickMs,
  BUS_LEASE: quickMs,
};

interface TestHubOptions {
  /** Environment variables; what is not named is chosen for tests. */
  env?: Record<string, string>;
  /** Log lines of level `error` that the test brings about: all others fail it at the end. */
  expectedErrors?: RegExp;
  clock?: Clock;
}

/** A hub as `npm start` starts it, in this process, on its own database and beside its own simulator. */
export type TestHub = Awaited<ReturnType<typeof startTestHub>>;

export async function startTestHub({ env = {}, expectedErrors, clock = systemClock }: TestHubOptions = {}) {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createTestDatabase());
  const simulator = openSimulatorClient(stack.use(await startSimulator(openPlatforms)).url);
  const dataDir = await mkdtemp(join(tmpdir(), "chat4all-test-"));
  stack.defer(() => rm(dataDir, { recursive: true, force: true }));
  const config = loadConfig(
    {
      DATA_DIR: dataDir,
      ...quickRetries,
      ...noLimits,
      ...sharedSecrets,
      PORT: "0",
      DATABASE_URL: database.url,
      SIMULATOR_URL: simulator.url,
      ADMIN_PASSWORD: adminPassword,
      ...fuseOfTests,
      ...env,
    },
    { envFile: null },
  );
  const log = openTestLog();
  const failures: Error[] = [];
  const hub = stack.use(
    await startHub({ config, log: log.logger, clock, onFailed: (error) => void failures.push(error) }),
  );
  const url = hub.url!;
  checkAnswersOf(url);
  const { pipelineDb: db, bus } = hub.context;
  const admin = openClient({ url, credential: { username: "admin", password: adminPassword } });
  const clientFor = (token: string) => openClient({ url, credential: { token } });
  const key = await admin.apiKeys.create({ name: "tests", scopes: ["*"] });
  /** An API key of the admin: acts for the workspace. */
  const client = clientFor(key.key);
  let people = 0;

  let made: Promise<unknown> = Promise.resolve();
  async function user(role: Role, displayName = `A ${role}`, of: Client = admin) {
    const username = `${role}-${randomUUID().slice(0, 8)}`;
    const credential = { username, password: adminPassword };
    // One after the other, because only a few passwords of one caller may wait for hashing.
    const email = `${username}@example.com`;
    const making = made.then(() => of.users.create({ ...credential, email, role, display_name: displayName }));
    made = making.catch(() => {});
    const user = await making;
    return { ...user, client: openClient({ url, credential }) };
  }

  /** What waits between a client and a platform; null when nothing does. */
  async function whatWaits(): Promise<string | null> {
    if (!(await simulator.isIdle())) return "webhooks of the simulator";
    const groups: [string, string][] = [
      [topics.inbound, "receive"],
      [topics.messageProcessing, "route"],
      ...connectors.map(({ channel }): [string, string] => [topics.outgoing(channel), "deliver"]),
    ];
    for (const [topic, group] of groups) {
      const lag = await bus.lag(topic, group);
      if (lag > 0) return `${lag} records of ${topic}`;
    }
    const { rows } = await db.query<{ pending: string; early: string; fallbacks: string }>(
      `SELECT (SELECT count(*) FROM deliveries WHERE is_pending) AS pending,
         (SELECT count(*) FROM deliveries WHERE fallback_at IS NOT NULL AND status = 'failed') AS fallbacks,
         (SELECT count(*) FROM early_receipts JOIN provider_messages USING (channel_account_id, provider_message_id))
         AS early`,
    );
    const [pending, early, fallbacks] = [rows[0]!.pending, rows[0]!.early, rows[0]!.fallbacks].map(Number);
    if (early! > 0) return `${early} early receipts`;
    if (fallbacks! > 0) return `${fallbacks} fallbacks`;
    if (pending === 0) return null;
    const accounts = (await client.channelAccounts.list()).data;
    const healths = await Promise.all(
      accounts.map((account) => client.channelAccounts.health(account.channel_account_id)),
    );
    return `${pending} deliveries, ${JSON.stringify(healths)}`;
  }

  async function call(method: string, path: string, token: string | null, body?: object) {
    const headers: Record<string, string> = body === undefined ? {} : { "content-type": "application/json" };
    if (token !== null) headers.authorization = `Bearer ${token}`;
    const answer = await fetch(url + path, { method, headers, ...(body && { body: JSON.stringify(body) }) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path} got ${answer.status}: ${text}`);
    return text === "" ? null : JSON.parse(text);
  }

  const opened = stack.move();
  return {
    url,
    hub,
    db,
    databaseUrl: database.url,
    simulator,
    client,
    /** The admin itself, logged in. */
    admin,
    clientFor,
    log,
    /** A request by hand. */
    call,
    /** A new session of a user that this harness made. */
    logIn: (username: string): Promise<{ access_token: string; refresh_token: string }> =>
      call("POST", "/auth/token", null, { username, password: adminPassword }),
    /** The events after a cursor, as an admin gets them over HTTP. */
    async events(after: string, token = key.key): Promise<Frame[]> {
      const frames: Frame[] = [];
      for (let cursor = after; ; ) {
        const page = await call("GET", `/v1/events?limit=200&after=${cursor}`, token);
        frames.push(...page.data);
        if (page.next_cursor === cursor) return frames;
        cursor = page.next_cursor;
      }
    },
    /** Someone new on this channel, unknown to the hub. */
    person(channel: string, name?: string): Person {
      people += 1;
      return openPerson(simulator, channel, people, name ?? `Person ${people}`);
    },
    user,
    group(members: (string | Person)[], settings: { author_prefix?: boolean } = {}): Promise<Conversation> {
      return client.conversations.create({ type: "group", title: "Tests", settings, members: members.map(toMember) });
    },
    /** Waits until nothing is under way: no lag, nothing pending, the simulator idle; twice in a row. */
    async settled(withinMs?: number): Promise<void> {
      let waits: string | null = null;
      const check = async () => {
        waits = (await whatWaits()) ?? (await whatWaits());
        return waits === null;
      };
      await until("everything is settled", check, withinMs).catch((cause) => {
        throw new Error(`It did not settle: ${waits} waited.`, { cause });
      });
    },
    /** Waits until the message has this status. */
    status(messageId: string, status: Message["status"], withinMs?: number): Promise<Message> {
      const check = async () => {
        const message = await client.messages.get(messageId);
        return message.status === status && message;
      };
      return until(`message ${messageId} is ${status}`, check, withinMs);
    },
    async account(channel: string) {
      const { data } = await client.channelAccounts.list({ channel: channel as Channel });
      return data[0]!;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await opened.disposeAsync();
      if (failures.length > 0) throw new AggregateError(failures, "The hub failed.");
      const errors = log.lines.filter((line) => isError(line) && !expectedErrors?.test(line));
      if (errors.length > 0) throw new Error(`The hub logged ${errors.length} errors, first: ${errors[0]}`);
      requireValidAnswers();
    },
  };
}

function toMember(member: string | Person) {
  return typeof member === "string" ? member : { address: member.address, display_name: member.name };
}

function isError(line: string): boolean {
  return (JSON.parse(line) as { level: number }).level >= 50;
}

/** Lines kept of a log. */
const maxLines = 50_000;

/** What the hub logs, kept in memory. */
export function openTestLog() {
  const lines: string[] = [];
  const sink = new Writable({
    write(chunk, _encoding, done) {
      if (lines.length < maxLines) lines.push(String(chunk));
      done();
    },
  });
  return { lines, logger: openLogger("trace", sink) };
}
