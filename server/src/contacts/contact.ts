import { notFound } from "../errors.ts";
import { type OfPage, type PageRequest, withinPage } from "../lib/page-bytes.ts";
import { all, type Db, maybe, run } from "../lib/query.ts";
import type { Address } from "./address.ts";
import type { Metadata } from "./text.ts";

export interface Contact {
  contactId: string;
  displayName: string;
  addresses: string[];
  metadata: Metadata;
  createdAt: Date;
}

/** The id of a merged contact returns the survivor. Throws RESOURCE_NOT_FOUND. */
export async function getContact(db: Db, workspaceId: string, contactId: string): Promise<Contact> {
  const contact = await maybe<Contact>(
    db,
    `${selectContacts}
     WHERE c.workspace_id = $1 AND p.deleted_at IS NULL
       AND c.contact_id = (SELECT coalesce(merged_into, contact_id) FROM contacts WHERE contact_id = $2)`,
    [workspaceId, contactId],
  );
  if (contact === null) throw notFound("contact");
  return contact;
}

interface ContactFilter extends PageRequest {
  /** A part of the name or an address, as in `search_text`, or of a phone number in any format. */
  query?: string | undefined;
  address?: Address | undefined;
  metadata?: { key: string; value: string } | undefined;
}

/** Newest first, a page, and one more than `limit` if another follows. Each set of filters has its own plan. */
export function listContacts(db: Db, workspaceId: string, filter: ContactFilter): Promise<(Contact & OfPage)[]> {
  const { query, address, metadata, limit, after } = filter;
  const values: unknown[] = [workspaceId];
  const bind = (value: unknown) => `$${values.push(value)}`;
  const conditions = ["c.workspace_id = $1", "p.deleted_at IS NULL"];
  const [at, id] = after === undefined ? ["NULL", "NULL"] : [bind(after.at), bind(after.id)];
  if (after !== undefined) conditions.push(`(c.created_at, c.contact_id) < (${at}::timestamptz, ${id}::uuid)`);
  let found = "";
  if (query !== undefined) {
    // With other filters, the first matches of the search may all be filtered out.
    const most = address === undefined && metadata === undefined ? limit + 1 : null;
    found = `JOIN find_contacts(${bind(query)}, ${at}, ${id}, ${bind(most)}) AS found (contact_id) USING (contact_id)`;
  }
  if (address !== undefined) {
    conditions.push(`c.contact_id = (SELECT participant_id FROM addresses a
      WHERE a.workspace_id = $1 AND a.channel = ${bind(address.channel)} AND a.identifier = ${bind(address.identifier)})`);
  }
  if (metadata !== undefined) {
    const [key, value] = [bind(metadata.key), bind(metadata.value)];
    conditions.push(`c.metadata ->> ${key}::text = ${value}::text AND c.contact_id IN (SELECT d.contact_id FROM contact_metadata d
      WHERE d.workspace_id = $1 AND d.entry = metadata_entry(${key}, ${value}))`);
  }
  const rows = `${selectContacts} ${found} WHERE ${conditions.join(" AND ")}
     ORDER BY c.created_at DESC, c.contact_id DESC LIMIT ${bind(limit + 1)}`;
  return all(db, withinPage(rows, { size: contactBytes, order: '"createdAt" DESC, "contactId" DESC' }), values);
}

/** The approximate size of a contact in a response, in bytes. */
const contactBytes = `150 + octet_length("displayName") + octet_length(metadata::text)
  + octet_length(array_to_string(addresses, '   '))`;

export async function insertContacts(
  db: Db,
  workspaceId: string,
  contacts: readonly { contactId: string; displayName: string; metadata?: Metadata }[],
  createdAt: Date,
): Promise<void> {
  if (contacts.length === 0) return;
  await run(
    db,
    `WITH new AS MATERIALIZED (
       SELECT * FROM unnest($2::uuid[], $3::text[], $4::jsonb[]) AS n (contact_id, display_name, metadata)
     ), participant AS (
       INSERT INTO participants (participant_id, workspace_id, kind, display_name, created_at)
       SELECT contact_id, $1, 'contact', display_name, $5 FROM new
     )
     INSERT INTO contacts (contact_id, workspace_id, metadata, created_at) SELECT contact_id, $1, metadata, $5 FROM new`,
    [
      workspaceId,
      contacts.map(({ contactId }) => contactId),
      contacts.map(({ displayName }) => displayName),
      contacts.map(({ metadata = {} }) => JSON.stringify(metadata)),
      createdAt,
    ],
  );
}

const selectContacts = `
  SELECT c.contact_id AS "contactId", p.display_name AS "displayName", c.metadata, c.created_at AS "createdAt",
    ARRAY(SELECT a.channel || ':' || a.identifier FROM addresses a
          WHERE a.participant_id = c.contact_id ORDER BY a.ordinal) AS addresses
  FROM contacts c JOIN participants p ON p.participant_id = c.contact_id`;
