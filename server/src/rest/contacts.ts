import { Type } from "typebox";
import {
  changeContact,
  createContact,
  deleteContact,
  getContact,
  listContacts,
  maxAddresses,
  mergeContacts,
  type ParseAddress,
} from "../contacts/contacts.ts";
import { leaveGroups, moveMemberships } from "../conversations/conversations.ts";
import { invalid } from "../errors.ts";
import { decodeCursor, pageOf, pageQuery, toPage } from "../http/pages.ts";
import type { App } from "../http/server.ts";
import type { Clock } from "../lib/clock.ts";
import { bearer, errorAnswers, idParams, nothing, uuid } from "./identity-schemas.ts";
import {
  addressText,
  contactResource,
  metadataChange,
  metadataObject,
  nameText,
  showContact,
} from "./people-schemas.ts";
import { maxSearchLength, withinSearchLimit } from "./search.ts";

export interface ContactRouteDeps {
  clock: Clock;
  parseAddress: ParseAddress;
}

/** `/v1/contacts`: the people whom the workspace reaches on channels. For agents and admins. */
export function contactRoutes(app: App, { clock, parseAddress }: ContactRouteDeps): void {
  app.post(
    "/v1/contacts",
    {
      config: { access: { role: "agent", scope: "contacts:write" }, idempotent: true, shows: "all" },
      schema: {
        tags,
        security: bearer,
        summary: "Make a contact",
        description: "409 names the participant that has one of the addresses already, as `details.participant_id`.",
        body: Type.Object(
          {
            display_name: nameText,
            addresses: Type.Optional(Type.Array(addressText, { maxItems: maxAddresses })),
            metadata: Type.Optional(metadataObject),
          },
          strict,
        ),
        response: { 201: contactResource, ...errorAnswers(400, 401, 403, 409) },
      },
    },
    async ({ principal, db, body }, reply) => {
      const contact = await createContact({ db, clock, parseAddress }, principal.workspaceId, body);
      return reply.status(201).send(showContact(contact));
    },
  );

  app.get(
    "/v1/contacts",
    {
      config: { access: { role: "agent", scope: "contacts:read" } },
      schema: {
        tags,
        security: bearer,
        summary: "List contacts, newest first",
        querystring: Type.Object(
          {
            ...pageQuery.properties,
            query: Type.Optional(
              Type.String({
                maxLength: maxSearchLength,
                description:
                  "A part of the display name or of an address, in any case, with or without accents, however letters " +
                  "are composed; or a part of a phone number, formatted or not. 503 SEARCH_TIMEOUT when it takes longer than 2 s.",
              }),
            ),
            address: Type.Optional(addressText),
            metadata_key: Type.Optional(
              Type.String({
                minLength: 1,
                maxLength: 1_000,
                description: "A key of the metadata, with metadata_value",
              }),
            ),
            metadata_value: Type.Optional(
              Type.String({
                maxLength: 16_384,
                description: "The value of that key: a string, or a number or boolean written as in JSON",
              }),
            ),
          },
          strict,
        ),
        response: { 200: pageOf(contactResource), ...errorAnswers(400, 401, 403, 503) },
      },
    },
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

  app.get(
    "/v1/contacts/:id",
    {
      config: { access: { role: "agent", scope: "contacts:read" } },
      schema: {
        tags,
        security: bearer,
        summary: "Get a contact",
        description: "The id of a contact that was merged answers with the one it was merged into.",
        params: idParams,
        response: { 200: contactResource, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }) =>
      showContact(await getContact(db, principal.workspaceId, params.id.toLowerCase())),
  );

  app.patch(
    "/v1/contacts/:id",
    {
      config: { access: { role: "agent", scope: "contacts:write" } },
      schema: {
        tags,
        security: bearer,
        summary: "Change a contact",
        description:
          "Keys of `metadata` are added to those that are there; a key with null is taken away, and null instead of " +
          "the object takes all away.",
        params: idParams,
        body: Type.Object(
          {
            display_name: Type.Optional(nameText),
            metadata: Type.Optional(metadataChange),
          },
          strict,
        ),
        response: { 200: contactResource, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params, body }) =>
      showContact(await changeContact(db, principal.workspaceId, params.id.toLowerCase(), body)),
  );

  app.delete(
    "/v1/contacts/:id",
    {
      config: { access: { role: "agent", scope: "contacts:write" } },
      schema: {
        tags,
        security: bearer,
        summary: "Delete a contact",
        description:
          "Its addresses are free for others and it leaves its groups. What it said stays, and so do its private " +
          "conversations, in which nothing reaches it any more.",
        params: idParams,
        response: { 204: nothing, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }, reply) => {
      await deleteContact({ db, clock, leaveGroups }, principal, params.id.toLowerCase());
      return reply.status(204).send(null);
    },
  );

  app.post(
    "/v1/contacts/:id/merge",
    {
      config: { access: { role: "agent", scope: "contacts:write" }, idempotent: true },
      schema: {
        tags,
        security: bearer,
        summary: "Merge a contact into another",
        description:
          "`into` takes over the addresses and the places in conversations, and keeps its own name and metadata. The " +
          "id of the merged contact answers as `into` from then on. If both had a private conversation with the same " +
          "participant, both remain with their messages, and that of `into` is used from then on: `to` an address, `POST " +
          "/v1/conversations` and what the person writes lead there; the other one names it as `continued_in` and gets only " +
          "messages that quote one of its own, or that a caller sends to its id. Safe to repeat.",
        params: idParams,
        body: Type.Object({ into: uuid }, strict),
        response: { 200: contactResource, ...errorAnswers(400, 401, 403, 404, 409) },
      },
    },
    async ({ principal, db, params, body }) => {
      const [from, into] = [params.id.toLowerCase(), body.into.toLowerCase()];
      return showContact(await mergeContacts({ db, clock, moveMemberships }, principal, from, into));
    },
  );
}

const tags = ["Contacts"];
const strict = { additionalProperties: false };
