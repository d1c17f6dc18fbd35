import { Type } from "typebox";
import { operations } from "./operation.ts";
import { addressText, metadata, metadataChange, nameText } from "./people.ts";
import { closed, maxSearchLength, named, pageOf, pageQuery, time, uuid } from "./schemas.ts";

const maxAddresses = 20;

export const Contact = named(
  "Contact",
  Type.Object({
    contact_id: uuid,
    display_name: Type.String(),
    addresses: Type.Array(Type.String(), { description: "`channel:identifier` as stored, oldest first." }),
    metadata,
    created_at: time,
  }),
  {
    contact_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c",
    display_name: "Ana Souza",
    addresses: ["whatsapp:+5511999991111"],
    metadata: { customer_number: 4711 },
    created_at: "2026-11-29T12:00:00.000Z",
  },
);

const NewContact = named(
  "NewContact",
  Type.Object(
    {
      display_name: nameText,
      addresses: Type.Optional(Type.Array(addressText, { maxItems: maxAddresses })),
      metadata: Type.Optional(metadata),
    },
    closed,
  ),
  { display_name: "Ana Souza", addresses: ["whatsapp:+5511999991111"], metadata: { customer_number: 4711 } },
);

const ContactChange = named(
  "ContactChange",
  Type.Object({ display_name: Type.Optional(nameText), metadata: Type.Optional(metadataChange) }, closed),
  { display_name: "Ana S.", metadata: { customer_number: null, vip: true } },
);

const read = { role: "agent", scope: "contacts:read" } as const;
const write = { role: "agent", scope: "contacts:write" } as const;

export const contacts = operations("Contacts", {
  createContact: {
    method: "POST",
    path: "/v1/contacts",
    summary: "Create a contact",
    description: "409 names the participant that already has one of the addresses, as `details.participant_id`.",
    access: write,
    idempotent: true,
    shows: "all",
    body: NewContact,
    answers: { 201: Contact },
    errors: [409],
  },
  listContacts: {
    method: "GET",
    path: "/v1/contacts",
    summary: "List contacts, newest first",
    access: read,
    query: Type.Object(
      {
        ...pageQuery,
        query: Type.Optional(
          Type.String({
            maxLength: maxSearchLength,
            description:
              "Part of the display name or of an address, ignoring case, accents and Unicode composition; or part of a " +
              "phone number, formatted or not. 503 `SEARCH_TIMEOUT` after 2 s.",
          }),
        ),
        address: Type.Optional(addressText),
        metadata_key: Type.Optional(
          Type.String({
            minLength: 1,
            maxLength: 1_000,
            description: "A key of the metadata. Needs `metadata_value`.",
          }),
        ),
        metadata_value: Type.Optional(
          Type.String({
            maxLength: 16_384,
            description: "The value of `metadata_key`: a string, or a number or boolean as in JSON.",
          }),
        ),
      },
      closed,
    ),
    answers: { 200: pageOf(Contact) },
  },
  getContact: {
    method: "GET",
    path: "/v1/contacts/{id}",
    summary: "Get a contact",
    description: "The id of a merged contact returns the contact into which it was merged.",
    access: read,
    answers: { 200: Contact },
  },
  updateContact: {
    method: "PATCH",
    path: "/v1/contacts/{id}",
    summary: "Update a contact",
    description:
      "Keys of `metadata` are merged into the stored ones. A null value removes its key; null as `metadata` removes all.",
    access: write,
    body: ContactChange,
    answers: { 200: Contact },
  },
  deleteContact: {
    method: "DELETE",
    path: "/v1/contacts/{id}",
    summary: "Delete a contact",
    description:
      "Frees its addresses and removes it from its groups. Its messages and private conversations remain, but nothing is " +
      "delivered to it any more.",
    access: write,
    answers: { 204: null },
  },
  mergeContacts: {
    method: "POST",
    path: "/v1/contacts/{id}/merge",
    summary: "Merge a contact into another",
    description:
      "`into` takes over the addresses and memberships, and keeps its own name and metadata. From then on the id of the " +
      "merged contact returns `into`. Safe to repeat.\n\n" +
      "If both had a private conversation with the same participant, both remain with their messages:\n\n" +
      "- Messages to an address, `POST /v1/conversations` and inbound messages use the conversation of `into`.\n" +
      "- The other conversation names it as `continued_in`, and gets only messages that quote one of its messages, or that " +
      "are sent to its id.",
    access: write,
    idempotent: true,
    body: named("ContactMerge", Type.Object({ into: uuid }, closed), { into: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c" }),
    answers: { 200: Contact },
    errors: [409],
  },
});
