import type { ParticipantKind } from "../../../contract/src/people.ts";
import { seesAddressesOf, type Viewer } from "../credentials/credentials.ts";
import type { PoolClient } from "../lib/postgres.ts";
import { all, type Db, run } from "../lib/query.ts";
import { formatAddress } from "./address.ts";
import { type HeldAddress, listAddresses } from "./address-book.ts";

export interface Participant {
  participantId: string;
  kind: ParticipantKind;
  displayName: string;
  addresses: HeldAddress[];
}

export async function describeParticipants(db: Db, ids: string[]): Promise<Map<string, Participant>> {
  const unique = [...new Set(ids)];
  const rows = await selectParticipants(db, unique);
  const held = Map.groupBy(await listAddresses(db, unique), (address) => address.participantId);
  return new Map(rows.map((row) => [row.participantId, { ...row, addresses: held.get(row.participantId) ?? [] }]));
}

/** Until the transaction ends, none is merged or deleted. Lock people before addresses. */
export async function lockPeopleShared(tx: PoolClient, workspaceId: string): Promise<void> {
  await run(tx, "SELECT pg_advisory_xact_lock_shared(hashtextextended('people ' || $1, 0))", [workspaceId]);
}

/** For merging and deleting: waits for all `lockPeopleShared` of other transactions, and blocks new ones. */
export async function lockPeopleExclusive(tx: PoolClient, workspaceId: string): Promise<void> {
  await run(tx, "SELECT pg_advisory_xact_lock(hashtextextended('people ' || $1, 0))", [workspaceId]);
}

interface ResolvedParticipant {
  participantId: string;
  kind: ParticipantKind;
}

/** By given id; a merged contact resolves to the survivor. Leaves out absent, deleted and foreign participants. */
export async function resolveParticipants(
  db: Db,
  workspaceId: string,
  ids: string[],
): Promise<Map<string, ResolvedParticipant>> {
  const rows = await all<ResolvedParticipant & { given: string }>(
    db,
    `SELECT given.participant_id AS given, living.participant_id AS "participantId", living.kind
     FROM participants given
     LEFT JOIN contacts c ON c.contact_id = given.participant_id
     JOIN participants living ON living.participant_id = coalesce(c.merged_into, given.participant_id)
     WHERE given.workspace_id = $1 AND given.participant_id = ANY ($2) AND living.deleted_at IS NULL`,
    [workspaceId, ids],
  );
  return new Map(rows.map(({ given, participantId, kind }) => [given, { participantId, kind }]));
}

function selectParticipants(db: Db, ids: string[]): Promise<Omit<Participant, "addresses">[]> {
  return all(
    db,
    `SELECT participant_id AS "participantId", kind, display_name AS "displayName"
     FROM participants WHERE participant_id = ANY ($1)`,
    [ids],
  );
}

export function showParticipant({ participantId, kind, displayName, addresses }: Participant, viewer: Viewer) {
  return {
    participant_id: participantId,
    kind,
    display_name: displayName,
    channels: [...new Set(addresses.map(({ channel }) => channel))],
    addresses: seesAddressesOf(viewer, participantId) ? addresses.map(formatAddress) : [],
  };
}
