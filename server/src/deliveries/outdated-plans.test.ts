/**
 * The disaster: a message is planned, then a member leaves, an address moves to another phone or an account is disabled,
 * and the commit still sends it to the old one, or to no one.
 */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import type { PoolClient } from "pg";
import { run } from "../lib/query.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type Pipeline, startPipeline } from "../testing/test-pipeline.ts";
import { until } from "../testing/until.ts";

/** Ids: Ana and Ben are in the conversation; Caio is not; Eva, who has no address, is in those about it. */
interface Place {
  chat: string;
  ana: string;
  caio: string;
  eva: string;
}

interface Change {
  what: string;
  /** The kind of fact: while it is loaded the other kind is still missing. */
  of: "members" | "accounts";
  withEva?: boolean;
  isDisabledBefore?: boolean;
  sql: (place: Place) => string;
  reached: readonly string[];
}

const changes: readonly Change[] = [
  {
    what: "a member is removed",
    of: "members",
    sql: ({ chat, ana }) => `DELETE FROM members WHERE conversation_id = '${chat}' AND participant_id = '${ana}'`,
    reached: ["ben"],
  },
  {
    what: "a member is added",
    of: "members",
    sql: ({ chat, caio }) =>
      `INSERT INTO members (conversation_id, participant_id, joined_at) VALUES ('${chat}', '${caio}', now())`,
    reached: ["ana", "ben", "caio"],
  },
  {
    what: "an address is changed",
    of: "members",
    sql: ({ ana }) => `UPDATE addresses SET identifier = 'new ' || identifier WHERE participant_id = '${ana}'`,
    reached: ["ben", "new ana"],
  },
  {
    what: "an address is removed",
    of: "members",
    sql: ({ ana }) => `DELETE FROM addresses WHERE participant_id = '${ana}'`,
    reached: ["ben"],
  },
  {
    what: "an address is added",
    of: "members",
    withEva: true,
    sql: ({ ana, eva }) =>
      `INSERT INTO addresses (workspace_id, channel, identifier, participant_id, created_at)
       SELECT workspace_id, channel, replace(identifier, 'ana', 'eva'), '${eva}', now() FROM addresses WHERE participant_id = '${ana}'`,
    reached: ["ana", "ben", "eva"],
  },
  {
    what: "the account is disabled",
    of: "accounts",
    sql: () => "UPDATE channel_accounts SET status = 'disabled'",
    reached: [],
  },
  {
    what: "the account is enabled",
    of: "accounts",
    isDisabledBefore: true,
    sql: () => "UPDATE channel_accounts SET status = 'active'",
    reached: ["ana", "ben"],
  },
];

describe("a message is routed by what is so when it is committed", { skip: process.env.FUSE === "off" }, () => {
  let line: Pipeline;
  let round = 0;

  const opened = closeAfterTests();
  before(async () => {
    line = opened.use(await startPipeline());
    await line.owned();
  });

  async function setUp({ withEva, isDisabledBefore }: Change): Promise<Place> {
    round += 1;
    const [ana, ben, caio] = await Promise.all(
      ["ana", "ben", "caio"].map((name) => line.addPerson(`${name} ${round}`)),
    );
    const eva = await line.addContactWithoutAddress();
    const chat = await line.addConversation(ana!, ben!, ...(withEva ? [eva] : []));
    await run(line.admin, "UPDATE channel_accounts SET status = 'active'");
    await line.say(chat, "before");
    await line.settled();
    if (isDisabledBefore) await run(line.admin, "UPDATE channel_accounts SET status = 'disabled'");
    line.sent.length = 0;
    return { chat, ana: ana!, caio: caio!, eva };
  }

  /** Says it, and changes something once it waits for what is locked. */
  async function sayWhile(
    { chat, ...place }: Place,
    change: Change,
    lock: string,
    waits: (client: PoolClient) => Promise<boolean>,
  ) {
    const client = await line.admin.connect();
    try {
      await client.query("BEGIN");
      await client.query("SET LOCAL session_replication_role = replica");
      await client.query(lock);
      const saying = line.say(chat as never, "oi").catch(() => null);
      await until("it waits", async () => {
        await client.query("SELECT pg_stat_clear_snapshot()");
        return waits(client);
      });
      await client.query(change.sql({ chat, ...place }));
      await client.query("COMMIT");
      await saying;
    } finally {
      client.release();
    }
    await line.settled();
    return line.sent.map(({ identifier }) => identifier.replace(/ \d+$/, "")).toSorted();
  }

  const statements =
    "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'chat4all accept'";

  for (const change of changes) {
    test(`${change.what} after a half of the facts was loaded`, async () => {
      const place = await setUp(change);
      const [loaded, locked] =
        change.of === "members" ? ["FROM members", "channel_accounts"] : ["FROM channel_accounts", "members"];
      const got = await sayWhile(place, change, `LOCK TABLE ${locked}`, async (client) => {
        const { rows } = await client.query<{ waiting: number; loaded: number }>(
          `SELECT count(*) FILTER (WHERE wait_event_type = 'Lock')::int AS waiting,
             count(*) FILTER (WHERE state = 'idle' AND query_start > now() AND query LIKE '%${loaded}%')::int AS loaded
           ${statements}`,
        );
        return rows[0]!.waiting > 0 && rows[0]!.loaded > 0;
      });
      assert.deepEqual(got, change.reached);
    });

    if (change.isDisabledBefore) continue;
    test(`${change.what} after the message was planned`, async () => {
      const place = await setUp(change);
      const got = await sayWhile(place, change, "SELECT FROM conversations FOR UPDATE", async (client) => {
        return (await client.query(`SELECT ${statements} AND wait_event_type = 'Lock'`)).rowCount === 1;
      });
      assert.deepEqual(got, change.reached);
    });
  }
});
