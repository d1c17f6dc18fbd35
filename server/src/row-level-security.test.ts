/**
 * Who may see what, read from the catalog of a migrated database: a new table or function cannot be forgotten. That the
 * policies hold is tested with rows in e2e/row-level-security.test.ts.
 */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import pg from "pg";
import { newId } from "./lib/ids.ts";
import { closeAfterTests } from "./testing/close-after-tests.ts";
import { createTestDatabase } from "./testing/test-database.ts";

const opened = closeAfterTests();
let client: pg.Client;
before(async () => {
  const database = opened.use(await createTestDatabase());
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  opened.defer(() => client.end());
});

async function all<Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> {
  return (await client.query<Row>(text, values)).rows;
}

const roles = ["chat4all_api", "chat4all_identity", "chat4all_pipeline"];
const ownTables = "c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace";
const ownFunctions = "p.pronamespace = current_schema()::regnamespace";

/** S, I, U, D: what a role may do with a table. */
async function grantsOf(role: string): Promise<Record<string, string>> {
  const rows = await all<{ name: string; grants: string }>(
    `SELECT c.relname AS name, string_agg(left(g.privilege_type, 1), '' ORDER BY array_position(
         ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN'], g.privilege_type::text)) AS grants
     FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) g
     WHERE ${ownTables} AND g.grantee = $1::regrole GROUP BY c.relname`,
    [role],
  );
  return Object.fromEntries(rows.map(({ name, grants }) => [name, grants]));
}

test("the request role has the privileges that it needs on each table, and no more", async () => {
  assert.deepEqual(await grantsOf("chat4all_api"), {
    address_verifications: "SIU",
    addresses: "SIUD",
    api_keys: "SIU",
    attempt_batches: "S",
    attempts: "S",
    audit_heads: "S",
    audit_log: "S",
    channel_accounts: "SIU",
    contact_metadata: "S",
    contact_search: "S",
    contacts: "SIU",
    conversations: "SIU",
    deliveries: "S",
    direct_conversations: "SIUD",
    event_heads: "S",
    events: "S",
    file_conversations: "SI",
    file_usage: "S",
    files: "SI",
    hourly_counts: "S",
    idempotency_keys: "SID",
    invitations: "SIU",
    lanes: "S",
    llm_usage: "S",
    login_identities: "SD",
    members: "SIUD",
    messages: "SI",
    participants: "SIU",
    password_resets: "SIU",
    provider_messages: "S",
    read_marks: "SIU",
    recovery_codes: "SID",
    sessions: "S",
    tasks: "SI",
    totp_secrets: "SIUD",
    users: "SIU",
    webhook_attempts: "SI",
    webhook_cursors: "SIU",
    webhook_deliveries: "SI",
    webhook_endpoints: "SIUD",
    webhooks: "S",
    workspaces: "S",
  });
});

test("in tables with unchecked references, requests may change only some columns", async () => {
  const rows = await all<{ name: string; columns: string }>(
    `SELECT c.relname AS name, string_agg(left(g.privilege_type, 1) || ' ' || a.attname, ', ' ORDER BY a.attnum, g.privilege_type) AS columns
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid CROSS JOIN LATERAL aclexplode(a.attacl) g
     WHERE ${ownTables} AND g.grantee = ANY ($1::regrole[]) GROUP BY c.relname ORDER BY c.relname`,
    [roles],
  );
  assert.deepEqual(Object.fromEntries(rows.map(({ name, columns }) => [name, columns])), {
    deliveries:
      "U ordinal, U status, U is_pending, U retry_from, U next_attempt_at, U part_receipts, U provider_message_ids, " +
      "U error, U is_dead_letter, U history, U sent_at, U delivered_at, U read_at, U failed_at, U status_before, " +
      "U started_at, U sent_by",
    files: "U content_type, U checksum, U status, U error, U upload_id, U completed_at, U expires_at, U object_left",
    idempotency_keys: "U body_hash_sealed, U status_code, U answer_sealed, U created_at, U work_id",
    provider_messages: "U delivery_id",
    sessions: "U revoked_at",
    tasks: "U status, U error, U finished_at, U owner_id, U leased_until",
    webhook_deliveries: "U status, U attempts_before, U next_attempt_at",
    webhook_endpoints: "S webhook_endpoint_id, S status, S made_by, S made_at, S is_authorized, U is_authorized",
    webhooks: "U failed_at",
  });
});

// A foreign key ignores row-level security.
test("a foreign key between tables of workspaces includes the workspace on both sides", async () => {
  const keys = await all<{ name: string; is_whole: boolean; is_checked: boolean }>(
    `SELECT k.conrelid::regclass || '.' || (SELECT string_agg(a.attname, '+' ORDER BY a.attnum) FROM pg_attribute a
         WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) AND a.attname <> 'workspace_id') AS name,
       EXISTS (
         SELECT FROM unnest(k.conkey, k.confkey) AS pair (here, there)
         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = here AND a.attname = 'workspace_id'
         JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = there AND b.attname = 'workspace_id') AS is_whole,
       k.convalidated AS is_checked
     FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid
     WHERE k.contype = 'f' AND ${ownTables} AND k.confrelid <> 'workspaces'::regclass
       AND r.relforcerowsecurity ORDER BY name`,
  );
  assert.deepEqual(
    keys.filter(({ is_checked }) => !is_checked),
    [],
  );
  assert.deepEqual(
    keys
      .filter(({ is_whole }) => !is_whole)
      .map(({ name }) => name)
      .sort(),
    Object.keys(otherwiseKept),
  );
  assert.equal(keys.filter(({ is_whole }) => is_whole).length, 25);
});

/** Tables without a workspace column, with what keeps their rows within one workspace. */
const otherwiseKept: Record<string, string> = {
  "direct_conversations.conversation_id": "keep_directs_together",
  "file_conversations.conversation_id": "names_own_rows; requests change no row",
  "members.conversation_id": "keep_members_together",
  "members.participant_id": "keep_members_together",
  "sessions.user_id": "a row belongs to the workspace of its user; requests insert none and change only revoked_at",
  "unseen_passwords.user_id": "a row belongs to the workspace of its user, and requests cannot access it",
};

test("the identity role can reach the tables of identity and nothing else", async () => {
  assert.deepEqual(await grantsOf("chat4all_identity"), {
    api_keys: "SU",
    idempotency_keys: "SIUD",
    invitations: "SU",
    log_in_tries: "SIUD",
    login_identities: "SIU",
    login_used_values: "SI",
    participants: "SIU",
    password_resets: "SIU",
    recovery_codes: "SD",
    sessions: "SIUD",
    totp_secrets: "SUD",
    unseen_passwords: "SIUD",
    users: "SIU",
    workspaces: "SI",
  });
});

test("the audit log can be written only by its function", async () => {
  const pipeline = await grantsOf("chat4all_pipeline");
  assert.deepEqual([pipeline.audit_log, pipeline.audit_heads, pipeline.messages], ["S", "S", "SIUDT"]);
});

test("every table of a workspace, and every table that requests can reach, forces row-level security", async () => {
  const unprotected = await all<{ name: string }>(
    `SELECT c.relname AS name FROM pg_class c
     WHERE ${ownTables} AND NOT (c.relrowsecurity AND c.relforcerowsecurity) AND (
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'workspace_id')
       OR has_table_privilege('chat4all_api', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE'))`,
  );
  assert.deepEqual(unprotected, []);
  const protectedTables = await all(`SELECT FROM pg_class c WHERE ${ownTables} AND c.relforcerowsecurity`);
  assert.ok(protectedTables.length >= 30);
});

test("a role with access to a table has one policy for it, both for reading and for writing", async () => {
  const reached = await all<{ name: string; role: string; policies: number }>(
    `SELECT c.relname AS name, role, (
       SELECT count(*)::integer FROM pg_policies p
       WHERE p.schemaname = current_schema() AND p.tablename = c.relname AND role = ANY (p.roles::text[])
         AND p.permissive = 'PERMISSIVE' AND p.cmd = 'ALL' AND p.qual IS NOT NULL AND p.with_check IS NOT NULL) AS policies
     FROM pg_class c, unnest($1::text[]) AS r (role)
     WHERE ${ownTables} AND c.relrowsecurity AND (
       has_table_privilege(role, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
       OR has_any_column_privilege(role, c.oid, 'SELECT, INSERT, UPDATE'))`,
    [roles],
  );
  assert.ok(reached.length > 70, `only ${reached.length}`);
  assert.deepEqual(
    reached.filter(({ policies }) => policies !== 1),
    [],
  );
});

test("there is one policy for each role, and those of requests name the workspace", async () => {
  const policies = await all<{
    tablename: string;
    policyname: string;
    roles: string;
    qual: string;
    with_check: string;
  }>(
    `SELECT tablename, policyname, array_to_string(roles, ' ') AS roles, qual, with_check FROM pg_policies
     WHERE schemaname = current_schema() AND permissive = 'PERMISSIVE'`,
  );
  const [{ owner }] = (await all<{ owner: string }>("SELECT current_user AS owner")) as [{ owner: string }];
  const known: Record<string, string> = {
    of_workspace: "chat4all_api",
    of_identity: "chat4all_identity",
    of_pipeline: "chat4all_pipeline",
    of_owner: owner,
  };
  // See migration 0033.
  assert.deepEqual(
    policies.filter(({ qual, with_check }) => /EXISTS/.test(`${qual}${with_check}`)),
    [],
  );
  for (const { tablename, policyname, roles, qual, with_check } of policies) {
    assert.equal(known[policyname], roles, `${policyname} on ${tablename}`);
    if (policyname !== "of_workspace") continue;
    // Of its own workspace, or of a row of another table whose policy says so.
    assert.match(qual, /current_workspace\(\)|true = \( SELECT true\b\s.*\s+FROM \w+/, tablename);
    assert.ok(with_check.includes(qual.slice(1, -1)), `${tablename} lets rows be written that cannot be seen`);
  }
});

test("security-definer functions can be called only by the roles that need them, with a fixed search path", async () => {
  const functions = await all<{ name: string; settings: string; callers: string }>(
    `SELECT p.proname AS name, array_to_string(p.proconfig, ', ') AS settings, coalesce((
       SELECT string_agg(coalesce(nullif(g.grantee, 0)::regrole::text, 'public'), ' ' ORDER BY 1)
       FROM aclexplode(p.proacl) g WHERE g.grantee <> p.proowner), '') AS callers
     FROM pg_proc p WHERE ${ownFunctions} AND p.prosecdef ORDER BY p.proname`,
  );
  const callers = Object.fromEntries(functions.map(({ name, callers }) => [name, callers]));
  assert.deepEqual(callers, {
    append_events: "chat4all_api chat4all_pipeline",
    append_to_audit_log: "chat4all_api chat4all_identity chat4all_pipeline",
    attach_partition: "chat4all_pipeline",
    begin_audit_log: "",
    bus_append: "chat4all_api chat4all_pipeline",
    delete_old_rows: "chat4all_pipeline",
    drop_partition: "chat4all_pipeline",
    find_contacts: "chat4all_api",
    count_files: "",
    index_changed_address: "",
    index_changed_participant: "",
    index_contact_metadata: "",
    index_contacts: "",
    index_written_addresses: "",
    index_written_contacts: "",
    keep_directs_together: "",
    keep_keys_together: "",
    keep_members_together: "",
    keep_quotes_together: "",
    prepare_partition: "chat4all_pipeline",
    tell_changed_conversation: "",
    tell_conversation: "",
    tell_members: "",
    tell_webhook_endpoint: "",
    tell_channel_account: "",
    write_deliveries: "chat4all_api chat4all_pipeline",
  });
  for (const { name, settings } of functions) assert.match(settings, /search_path=public, pg_temp/, name);
});

/** What the calls below name of a workspace. */
interface Filled {
  workspace: string;
  recipient: string;
  identifier: string;
  account: string;
  conversation: string;
  message: string;
  lane: string;
}

/** Calls of the functions that requests can call, with the ids of one workspace. */
const calls: [name: string, text: string][] = [
  ["append_events", "append_events(ARRAY[:workspace]::uuid[], ARRAY[1], ARRAY['[]'])"],
  ["append_to_audit_log", "append_to_audit_log(:workspace, 'system', NULL, 'a.b', NULL, NULL, '{}', NULL, NULL)"],
  // The steps that read the records look up what they name.
  ["bus_append", "bus_append('message_processing', ARRAY[0], ARRAY[1], ARRAY['[]'])"],
  ["find_contacts", "find_contacts('ana', NULL, NULL, NULL)"],
  ["write_deliveries", writeDeliveries(":identifier, :account, :lane")],
  ["write_deliveries", writeDeliveries("NULL, NULL, NULL")],
];

function writeDeliveries(address: string): string {
  return `write_deliveries(now(), ARRAY[ROW(gen_random_uuid(), :workspace, :message, :conversation, 1, :recipient, 'phone',
    ${address}, 0, 'only', 'accepted', NULL, 'test', 'phone_outgoing', NULL, 1, NULL)::planned_delivery],
    'deliver', NULL, 0, ARRAY[:conversation]::uuid[], ARRAY[format('{%s}', :recipient)])`;
}

describe("a function with the rights of the owner writes for the workspace of the request only", () => {
  let ours: Filled;
  let theirs: Filled;
  before(async () => {
    [ours, theirs] = [await fillWorkspace("1"), await fillWorkspace("2")];
    await all("INSERT INTO bus_heads (topic, partition) VALUES ('message_processing', 0), ('phone_outgoing', 0)");
  });

  /** The rows that it returns, or the error. Nothing stays. */
  async function call(role: string, workspace: string, text: string, ids: Filled): Promise<object[] | string> {
    await client.query("BEGIN");
    try {
      await client.query(`SET LOCAL ROLE ${role}`);
      await client.query("SELECT set_config('chat4all.workspace_id', $1, true)", [workspace]);
      return await all(`SELECT ${fillIn(text, ids)}`);
    } catch (error) {
      return `${(error as pg.DatabaseError).code} ${(error as Error).message}`;
    } finally {
      await client.query("ROLLBACK");
    }
  }
  const names = calls.map(([name]) => name);
  const refused = /^(42501 .*(permission denied|without a workspace|own workspace)|40001 .* not of this workspace)/;

  test("each function that requests can call is tested here", async () => {
    const functions = await all<{ name: string }>(
      `SELECT p.proname AS name FROM pg_proc p
       WHERE ${ownFunctions} AND p.prosecdef AND has_function_privilege('chat4all_api', p.oid, 'EXECUTE') ORDER BY p.proname`,
    );
    assert.deepEqual(
      functions.map(({ name }) => name),
      [...new Set(names)],
    );
  });

  for (const [name, text] of calls) {
    test(name, async () => {
      const used = (Object.keys(ours) as (keyof Filled)[]).filter((key) => text.includes(`:${key}`));
      const own = await call("chat4all_api", ours.workspace, text, ours);
      assert.ok(Array.isArray(own), `with the own workspace: ${own}`);
      if (name === "find_contacts") {
        assert.deepEqual(own, [{ find_contacts: ours.recipient }]);
        assert.deepEqual(await call("chat4all_api", "", text, ours), []);
        return;
      }
      const ofPipeline = await call("chat4all_pipeline", "", text, theirs);
      assert.ok(Array.isArray(ofPipeline), `from the pipeline: ${ofPipeline}`);
      assert.match(String(await call("chat4all_api", "", text, ours)), refused, "without a workspace");
      // Each combination of ids.
      for (let bits = 1; bits < 2 ** used.length; bits += 1) {
        const foreign = used.filter((_, place) => bits & (1 << place));
        const mixed = { ...ours, ...Object.fromEntries(foreign.map((key) => [key, theirs[key]])) };
        assert.match(String(await call("chat4all_api", ours.workspace, text, mixed)), refused, foreign.join());
      }
    });
  }

  test("requests cannot call any other", async () => {
    const functions = await all<{ text: string }>(
      `SELECT format('%s(%s)', p.proname, (
         SELECT string_agg('NULL::' || format_type(t, NULL), ', ') FROM unnest(p.proargtypes) AS t)) AS text
       FROM pg_proc p WHERE ${ownFunctions} AND p.prosecdef AND NOT p.proname = ANY ($1)`,
      [names],
    );
    assert.ok(functions.length > 15);
    for (const { text } of functions) {
      const outcome = await call("chat4all_api", ours.workspace, text, ours);
      assert.match(String(outcome), /^42501 permission denied for function/, text);
    }
  });
});

/** A contact with an address, a conversation with it alone, a message, and the lane to it. */
async function fillWorkspace(identifier: string): Promise<Filled> {
  const id = () => newId(Date.now());
  const ids: Filled = {
    workspace: id(),
    recipient: id(),
    identifier,
    account: id(),
    conversation: id(),
    message: id(),
    lane: id(),
  };
  const text = `
    INSERT INTO workspaces (workspace_id, name, created_at) VALUES (:workspace, 'Acme', now());
    INSERT INTO participants (participant_id, workspace_id, kind, display_name, created_at) VALUES
      (:workspace, :workspace, 'workspace', 'Acme', now()), (:recipient, :workspace, 'contact', 'Ana', now());
    INSERT INTO contacts (contact_id, workspace_id, created_at) VALUES (:recipient, :workspace, now());
    INSERT INTO addresses (workspace_id, channel, identifier, participant_id, created_at)
      VALUES (:workspace, 'phone', :identifier, :recipient, now());
    INSERT INTO channel_accounts (channel_account_id, workspace_id, channel, name, status, external_id, credentials_sealed, created_at)
      VALUES (:account, :workspace, 'phone', 'test', 'active', :identifier, '', now());
    INSERT INTO conversations (conversation_id, workspace_id, type, created_at) VALUES (:conversation, :workspace, 'private', now());
    INSERT INTO members (conversation_id, participant_id, joined_at) VALUES (:conversation, :recipient, now());
    INSERT INTO messages (message_id, workspace_id, conversation_id, seq, sender_id, direction, payload, created_at)
      VALUES (:message, :workspace, :conversation, 1, :workspace, 'outbound', '{}', now());
    INSERT INTO lanes (lane_id, workspace_id, channel_account_id, channel, identifier, partition)
      VALUES (:lane, :workspace, :account, 'phone', :identifier, 0)`;
  await client.query(fillIn(text, ids));
  return ids;
}

function fillIn(text: string, ids: Filled): string {
  return text.replaceAll(/(?<!:):([a-z]+)/g, (_, name: keyof Filled) => `'${ids[name]}'`);
}

test("the roles have no special attributes, and none is a member of another", async () => {
  const found = await all<{ rolname: string }>(
    `SELECT rolname FROM pg_roles WHERE rolname = ANY ($1) AND NOT (
       rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole OR rolcreatedb OR rolreplication)`,
    [roles],
  );
  assert.equal(found.length, roles.length);
  const memberships = await all("SELECT FROM pg_auth_members WHERE member::regrole::text = ANY ($1)", [roles]);
  assert.deepEqual(memberships, []);
  const owned = await all(`SELECT FROM pg_class c WHERE ${ownTables} AND c.relowner::regrole::text = ANY ($1)`, [
    roles,
  ]);
  assert.deepEqual(owned, []);
  // No table, no function: nothing of theirs could come before ours.
  const creators = await all(
    "SELECT role FROM unnest($1::text[]) AS r (role) WHERE has_schema_privilege(role, current_schema(), 'CREATE')",
    [roles],
  );
  assert.deepEqual(creators, []);
});
