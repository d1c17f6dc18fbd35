import { contacts } from "../../../contract/src/contacts.ts";
import {
  type Contact,
  changeContact,
  createContact,
  deleteContact,
  getContact,
  listContacts,
  mergeContacts,
  type ParseAddress,
} from "../contacts/contacts.ts";
import { leaveGroups, moveMemberships } from "../conversations/conversations.ts";
import { invalid } from "../errors.ts";
import type { App } from "../http/app.ts";
import { decodeCursor, toPage } from "../http/pages.ts";
import { route } from "../http/route.ts";
import type { Clock } from "../lib/clock.ts";
import { withinSearchLimit } from "./search.ts";

interface ContactRouteDeps {
  clock: Clock;
  parseAddress: ParseAddress;
}

export function contactRoutes(app: App, { clock, parseAddress }: ContactRouteDeps): void {
  route(app, contacts.createContact, async ({ principal, db, body }) =>
    showContact(await createContact({ db, clock, parseAddress }, principal.workspaceId, body)),
  );

  route(
    app,
    contacts.listContacts,
    async ({ principal, db, query: { limit = 50, cursor, query, address, ...found } }) => {
      const { metadata_key: key, metadata_value: value } = found;
      if ((key === undefined) !== (value === undefined)) {
        throw invalid("Give metadata_key and metadata_value together.", {
          field: key ? "metadata_value" : "metadata_key",
        });
      }
      const metadata = key === undefined || value === undefined ? undefined : { key, value };
      const parsed = address === undefined ? undefined : parseAddress(address);
      const filter = { limit, after: decodeCursor(cursor), query: query || undefined, address: parsed, metadata };
      const rows =
        filter.query === undefined
          ? await listContacts(db, principal.workspaceId, filter)
          : await withinSearchLimit(db, (tx) => listContacts(tx, principal.workspaceId, filter));
      return toPage(rows, limit, showContact, (row) => ({ at: row.createdAt, id: row.contactId }));
    },
  );

  route(app, contacts.getContact, async ({ principal, db, params }) =>
    showContact(await getContact(db, principal.workspaceId, params.id)),
  );

  route(app, contacts.updateContact, async ({ principal, db, params, body }) =>
    showContact(await changeContact(db, principal.workspaceId, params.id, body)),
  );

  route(app, contacts.deleteContact, ({ principal, db, params }) =>
    deleteContact({ db, clock, leaveGroups }, principal, params.id),
  );

  route(app, contacts.mergeContacts, async ({ principal, db, params, body }) =>
    showContact(await mergeContacts({ db, clock, moveMemberships }, principal, params.id, body.into)),
  );
}

export function showContact({ contactId, displayName, addresses, metadata, createdAt }: Contact) {
  return {
    contact_id: contactId,
    display_name: displayName,
    addresses,
    metadata,
    created_at: createdAt.toISOString(),
  };
}
