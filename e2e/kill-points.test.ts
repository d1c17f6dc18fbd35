/**
 * The disaster: a hub dies at a moment that kills by chance never meet, and a message is lost, sent again or overtaken.
 * A lock that the test holds in the database, or a platform that does not respond, stops the hub at that moment.
 */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import type pg from "pg";
import { createClient } from "../server/src/lib/postgres.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import type { HubProcess } from "../server/src/testing/hub-process.ts";
import { createTestDatabase } from "../server/src/testing/test-database.ts";
import { until } from "../server/src/testing/until.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { adminPassword, openPlatforms, sharedSecrets } from "./src/harness.ts";
import { type HubPlace, openHubPlace, programOf, startHubProcess } from "./src/hub-place.ts";
import { type Load, openLoad, type Talk } from "./src/load.ts";
import { assertFine, observe } from "./src/observe.ts";
import { openPerson } from "./src/people.ts";
import { withoutProc } from "./src/processes.ts";
import { openSimulatorClient, type SimulatorClient } from "./src/simulator-client.ts";

const isFused = process.env.FUSE !== "off";
/** One lane on each channel. */
const channels = ["whatsapp", "telegram"];
/** At a fused commit. */
const mostTries = 20;

describe(
  "kill -9 of the hub: nothing is lost, a lane keeps its order, and the attempt is shown",
  {
    skip: withoutProc,
  },
  () => {
    let place: HubPlace;
    let hub: HubProcess;
    let db: pg.Client;
    let platforms: SimulatorClient;
    let client: Awaited<ReturnType<typeof programOf>>;
    let load: Load;
    let talk: Talk;

    const opened = closeAfterTests();
    before(async () => {
      const database = opened.use(await createTestDatabase());
      const simulator = opened.use(await startSimulator(openPlatforms));
      platforms = openSimulatorClient(simulator.url);
      // A receipt would settle an attempt without a response.
      for (const channel of channels) await platforms.settings(channel, { auto_receipts: false });
      db = createClient({ url: database.url, applicationName: "test" });
      await db.connect();
      opened.defer(() => db.end());
      const env = { ...sharedSecrets, DATABASE_URL: database.url, SIMULATOR_URL: simulator.url };
      // So that no request ends before the kill.
      place = opened.use(await openHubPlace({ ...env, DELIVERY_TIMEOUT: "4s" }));
      hub = await startHubProcess(place);
      client = await programOf(place);
      load = openLoad(client);
      const people = channels.map((channel, index) => openPerson(platforms, channel, index, `Person on ${channel}`));
      const members = people.map(({ address, name }) => ({ address, display_name: name }));
      const agent = { username: "agent", email: "agent@example.com", password: adminPassword, role: "agent" } as const;
      const { user_id } = await client.users.create(agent);
      const group = await client.conversations.create({ type: "group", members: [...members, user_id] });
      talk = { conversationId: group.conversation_id, people };
    });

    /** After that the lanes are idle, and the hub knows their accounts: it routes the next message at once. */
    async function warmUp(): Promise<void> {
      await sent(await load.say(talk, `${load.accepted()} before`));
    }

    async function sent(messageId: string): Promise<void> {
      await until("the message is sent to all", async () => {
        const deliveries = await deliveriesOf(messageId);
        return deliveries.length === channels.length && deliveries.every(({ status }) => status === "sent");
      });
    }

    async function deliveriesOf(messageId: string) {
      return (await client.messages.get(messageId)).deliveries.filter(({ channel }) => channels.includes(channel));
    }

    /** Runs with this locked until it is over; `unlock` ends it earlier. */
    async function whileLocked(lock: string, work: (unlock: () => Promise<unknown>) => Promise<void>): Promise<void> {
      await db.query("BEGIN");
      await db.query(lock);
      try {
        await work(() => db.query("COMMIT"));
      } finally {
        await db.query("COMMIT");
      }
    }

    /** Runs while the second message waits behind the first, whose outcomes the platforms have and the database has not. */
    async function whileUnwritten(point: string, work: (unlock: () => Promise<unknown>) => Promise<void>) {
      let said!: readonly [first: Promise<string>, second: Promise<string>];
      await whileLocked("LOCK TABLE attempt_batches IN SHARE MODE", async (unlock) => {
        const first = load.say(talk, `${point} first`);
        await statementsWait(channels.length);
        said = [first, load.say(talk, `${point} second`)];
        await said[1];
        await work(unlock);
      });
      return said;
    }

    const waiting = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

    function statementsWait(count: number): Promise<unknown> {
      return until(`${count} statements of the hub wait for the lock`, async () => {
        await db.query("SELECT pg_stat_clear_snapshot()");
        return (await db.query(`SELECT ${waiting}`)).rowCount === count;
      });
    }

    async function killed(): Promise<void> {
      hub.kill("SIGKILL");
      await hub.ended;
    }

    /** Starts the hub again: both messages are sent, each first copy in its turn, with these attempts at the first. */
    async function recovers(
      first: Promise<string>,
      second: Promise<string>,
      outcomesOn: (channel: string) => readonly string[],
    ): Promise<void> {
      hub = await startHubProcess(place);
      const [firstId, secondId] = await Promise.all([first, second]);
      await sent(firstId);
      await sent(secondId);
      for (const [messageId, expected] of [
        [firstId, outcomesOn],
        [secondId, () => ["sent"]],
      ] as const) {
        const trace = await client.messages.trace(messageId);
        for (const { delivery_id, channel } of await deliveriesOf(messageId)) {
          const attempts = trace.filter((entry) => entry.what === "attempt" && entry.delivery_id === delivery_id);
          assert.deepEqual(
            attempts.map(({ outcome }) => outcome),
            expected(channel),
            channel,
          );
        }
      }
    }

    async function textsOf(point: string): Promise<string[][]> {
      const texts = await Promise.all(talk.people.map((person) => person.texts()));
      return texts.map((all) =>
        all.flatMap((text) => (text?.startsWith(`${point} `) ? [text.slice(point.length + 1)] : [])),
      );
    }

    test("after the commit that accepts it, before the request left", async () => {
      // Fused, that commit starts both attempts, unless the hub is so slow that it leaves one to a step: then once more.
      for (let tries = 1; ; tries += 1) {
        const point = `accepted ${tries}`;
        await warmUp();
        let first!: Promise<string>;
        await whileLocked("SELECT FROM conversations FOR UPDATE", async (unlock) => {
          first = load.say(talk, `${point} first`);
          await statementsWait(1);
          // The database commits, but the stopped process cannot read the response.
          hub.kill("SIGSTOP");
          await unlock();
        });
        await until("it is committed", async () => {
          const { rowCount } = await db.query("SELECT FROM messages WHERE payload ->> 'text' = $1", [`${point} first`]);
          return rowCount === 1;
        });
        await killed();
        const { rows } = await db.query<{ channel: string }>(
          `SELECT channel FROM messages JOIN deliveries USING (message_id)
           WHERE payload ->> 'text' = $1 AND attempt_started_at IS NOT NULL`,
          [`${point} first`],
        );
        const started = rows.map(({ channel }) => channel);
        await recovers(first, load.say(talk, `${point} second`), (channel) =>
          started.includes(channel) ? ["unknown", "sent"] : ["sent"],
        );
        assert.deepEqual(await textsOf(point), Array(2).fill(["first", "second"]));
        if (started.length === (isFused ? channels.length : 0)) return;
        assert.ok(isFused && tries < mostTries, `attempts started on ${started.length} channels`);
      }
    });

    test("while the platform has the request and has not responded", async () => {
      await warmUp();
      const before = await platforms.count();
      for (const channel of channels) await platforms.break({ channel, fault: "timeout_after_accept", count: 1 });
      const first = load.say(talk, "sending first");
      await until("the platforms have it", async () => (await platforms.count()) === before + channels.length);
      await first;
      const second = load.say(talk, "sending second");
      await second;
      await killed();
      await recovers(first, second, () => ["unknown", "sent"]);
      assert.deepEqual(await textsOf("sending"), Array(2).fill(["first", "first", "second"]));
    });

    test("after the platform's response, before its commit", async () => {
      await warmUp();
      const said = await whileUnwritten("responded", async () => {
        await killed();
        // They would be committed without the hub.
        await db.query(`SELECT pg_terminate_backend(pid) ${waiting}`);
        await statementsWait(0);
      });
      await recovers(...said, () => ["unknown", "sent"]);
      assert.deepEqual(await textsOf("responded"), Array(2).fill(["first", "first", "second"]));
    });

    test("after the commit of the platform's response", async () => {
      await warmUp();
      const said = await whileUnwritten("finished", async (unlock) => {
        hub.kill("SIGSTOP");
        await unlock();
      });
      await until("both responses are committed", async () => {
        const { rowCount } = await db.query(
          "SELECT FROM messages JOIN deliveries USING (message_id) WHERE payload ->> 'text' = 'finished first' AND status = 'sent'",
        );
        return rowCount === channels.length;
      });
      await killed();
      await recovers(...said, () => ["sent"]);
      assert.deepEqual(await textsOf("finished"), Array(2).fill(["first", "second"]));
    });

    test("after all of them, nothing is missing, and no status has moved back", async () => {
      const conversationIds = [talk.conversationId];
      assertFine(await observe({ client, simulator: platforms, conversationIds, checker: load.checker }));
    });
  },
);
