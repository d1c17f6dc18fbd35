import { Type } from "typebox";
import {
  addressPattern,
  type Contact,
  maxIdentifierLength,
  maxNameLength,
  type Participant,
} from "../contacts/contacts.ts";
import { freeForm, metadataLimits, metadataRule } from "../lib/free-form.ts";
import { time, uuid } from "./identity-schemas.ts";

/** A name or title in a body. */
export const nameText = Type.String({
  minLength: 1,
  maxLength: maxNameLength,
  description: "One line with a visible character, and without characters that change the direction of text",
});

export const addressText = Type.String({
  minLength: 1,
  maxLength: maxIdentifierLength + 32,
  pattern: addressPattern,
  description: "`channel:identifier`; a phone number in any spelling, with + and its country code",
});

export const metadataObject = freeForm(metadataLimits, metadataRule);

/** Null removes all fields. */
export const metadataChange = Type.Unsafe<Record<string, unknown> | null>({
  ...metadataObject,
  type: ["object", "null"],
});

export const contactResource = Type.Object({
  contact_id: uuid,
  display_name: Type.String(),
  addresses: Type.Array(Type.String(), { description: "`channel:identifier` as stored, oldest first." }),
  metadata: metadataObject,
  created_at: time,
});

export function showContact({ contactId, displayName, addresses, metadata, createdAt }: Contact) {
  return {
    contact_id: contactId,
    display_name: displayName,
    addresses,
    metadata,
    created_at: createdAt.toISOString(),
  };
}

export const participantFields = {
  participant_id: uuid,
  kind: Type.Unsafe<Participant["kind"]>({ type: "string", enum: ["user", "contact", "workspace"] }),
  display_name: Type.String(),
  channels: Type.Array(Type.String(), { description: "Channels on which the participant has an address." }),
  addresses: Type.Array(Type.String(), {
    description: "Callers with the role member see only their own addresses.",
  }),
};
