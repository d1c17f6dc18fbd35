import type { PoolClient } from "../lib/postgres.ts";
import { all, type Db } from "../lib/query.ts";
import { type HeldAddress, listAddresses } from "./address-book.ts";

export type ParticipantKind = "user" | "contact" | "workspace";

export interface Participant {
  participantId: string;
  kind: ParticipantKind;
  displayName: string;
  addresses: HeldAddress[];
}

/** Who these are, the deleted included, by their ids. */
export async function describeParticipants(db: Db, ids: string[]): Promise<Map<string, Participant>> {
  const unique = [...new Set(ids)];
  const rows = await selectParticipants(db, unique);
  const held = Map.groupBy(await listAddresses(db, unique), (address) => address.participantId);
  return new Map(rows.map((row) => [row.participantId, { ...row, addresses: held.get(row.participantId) ?? [] }]));
}

/**
 * Holds the participants of a workspace in place until the transaction ends, and says under which id each one lives:
 * a merged contact answers as the one it was merged into. Who is absent, deleted or of another workspace is left out.
 * `KEY SHARE` keeps them from being deleted or merged, and hinders no other; `UPDATE` is for whoever does that.
 */
export async function lockParticipants(
  tx: PoolClient,
  workspaceId: string,
  ids: string[],
  strength: "KEY SHARE" | "UPDATE" = "KEY SHARE",
): Promise<Map<string, { participantId: string; kind: ParticipantKind }>> {
  const found = await selectLiving(tx, workspaceId, ids, strength);
  const missing = ids.filter((id) => !found.has(id));
  // A merge that ended while we waited for its lock shows only to the next statement.
  if (missing.length === 0) return found;
  return new Map([...found, ...(await selectLiving(tx, workspaceId, missing, strength))]);
}

function selectParticipants(db: Db, ids: string[]): Promise<Omit<Participant, "addresses">[]> {
  return all(
    db,
    `SELECT participant_id AS "participantId", kind, display_name AS "displayName"
     FROM participants WHERE participant_id = ANY ($1)`,
    [ids],
  );
}

async function selectLiving(tx: PoolClient, workspaceId: string, ids: string[], strength: "KEY SHARE" | "UPDATE") {
  const rows = await all<{ given: string; participantId: string; kind: ParticipantKind }>(
    tx,
    `SELECT given.participant_id AS given, living.participant_id AS "participantId", living.kind
     FROM participants given
     LEFT JOIN contacts c ON c.contact_id = given.participant_id
     JOIN participants living ON living.participant_id = coalesce(c.merged_into, given.participant_id)
     WHERE given.workspace_id = $1 AND given.participant_id = ANY ($2) AND living.deleted_at IS NULL
     ORDER BY living.participant_id FOR ${strength} OF living`,
    [workspaceId, ids],
  );
  return new Map(rows.map(({ given, participantId, kind }) => [given, { participantId, kind }]));
}
