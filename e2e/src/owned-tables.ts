import type { Owner } from "./owned-rows.ts";

/** A table whose rows belong to workspaces, and what requests may do with it. */
export interface OwnedTable {
  name: string;
  /** SQL for the workspace of a row. */
  workspace: string;
  grants: string[];
  /** A column that can be set to what it is. */
  column: string;
  /** The columns that are not generated, as a list in SQL. */
  writable: string;
}

/** Whose the rows of tables are that do not say so themselves. */
const indirectly: Record<string, string> = {
  sessions: "(SELECT u.workspace_id FROM users u WHERE u.user_id = t.user_id)",
  members: "(SELECT c.workspace_id FROM conversations c WHERE c.conversation_id = t.conversation_id)",
  direct_conversations: "(SELECT c.workspace_id FROM conversations c WHERE c.conversation_id = t.conversation_id)",
  attempts: "(SELECT d.workspace_id FROM deliveries d WHERE d.delivery_id = t.delivery_id)",
  provider_messages: "(SELECT m.workspace_id FROM messages m WHERE m.message_id = t.message_id)",
};

/** Every table that requests may read or write, from the catalog: a new one is included automatically. */
export async function ownedTables(owner: Owner): Promise<OwnedTable[]> {
  const rows = await owner.all<{
    name: string;
    grants: string[];
    column: string;
    writable: string;
    has_workspace: boolean;
  }>(
    `SELECT c.relname AS name,
       array_agg(DISTINCT g.privilege_type::text)
         || CASE WHEN has_any_column_privilege('chat4all_api', c.oid, 'UPDATE') THEN ARRAY['UPDATE'] ELSE '{}' END AS grants,
       (SELECT attname FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND attidentity = '' AND NOT attisdropped
        ORDER BY NOT has_column_privilege('chat4all_api', c.oid, attnum, 'UPDATE'), attnum LIMIT 1) AS column,
       (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = c.oid AND attnum > 0 AND attgenerated = '' AND NOT attisdropped) AS writable,
       EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'workspace_id') AS has_workspace
     FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) g
     WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace AND g.grantee = 'chat4all_api'::regrole
     GROUP BY c.oid, c.relname ORDER BY c.relname`,
  );
  return rows.map(({ has_workspace, ...table }) => {
    const workspace = has_workspace ? "t.workspace_id" : indirectly[table.name];
    if (workspace === undefined) throw new Error(`Say in owned-tables.ts whose the rows of ${table.name} are.`);
    return { ...table, workspace };
  });
}
