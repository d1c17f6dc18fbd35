/** Names, addresses and metadata of people. */
import { Type } from "typebox";
import { type FreeFormLimits, freeForm } from "./free-form.ts";
import { nullable, uuid } from "./schemas.ts";

/** Longest display name or title, in characters as JSON Schema counts them (code points). */
export const maxNameLength = 200;
/** Longest identifier, in UTF-16 code units, as given and as stored. */
export const maxIdentifierLength = 200;
export const addressPattern = "^[a-z]{1,30}:.+$";
export const metadataLimits: FreeFormLimits = { maxBytes: 16 * 1024, maxValues: 1_000, maxDepth: 20 };

export const nameText = Type.String({
  minLength: 1,
  maxLength: maxNameLength,
  description: "One line with at least one visible character and no characters that change the direction of text.",
});

export const addressText = Type.String({
  minLength: 1,
  maxLength: maxIdentifierLength + 32,
  pattern: addressPattern,
  description: "`channel:identifier`; a phone number in any format, with + and its country code.",
});

export const metadata = freeForm(
  metadataLimits,
  "Your own fields: at most 16 KiB of JSON with at most 1,000 fields and elements, nested at most 20 deep. A number that a double " +
    "does not represent exactly, such as 9007199254740993, is refused: send it as a string.",
);

export const metadataChange = nullable(metadata);

export const channelPattern = "^[a-z]{1,30}$";
export const channelName = Type.String({ pattern: channelPattern });

const participantKinds = ["user", "contact", "workspace"] as const;
export type ParticipantKind = (typeof participantKinds)[number];

export const participantFields = {
  participant_id: uuid,
  kind: Type.Enum([...participantKinds]),
  display_name: Type.String(),
  channels: Type.Array(Type.String(), { description: "Channels on which the participant has an address." }),
  addresses: Type.Array(Type.String(), { description: "Callers with the role member see only their own addresses." }),
};
