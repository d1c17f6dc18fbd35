import { type Static, Type } from "typebox";
import { closed, named, oneOf, recordOf, uuid } from "./schemas.ts";

/** Longest text of a message, in characters as JSON Schema counts them (code points). */
export const maxTextLength = 65_536;

const templateFields = {
  type: Type.Literal("template"),
  name: Type.String({ minLength: 1, maxLength: 512 }),
  language: Type.String({ minLength: 2, maxLength: 20 }),
};
const parameter = Type.String({ maxLength: 32_768 });
const listed = Type.Array(parameter, { maxItems: 100 });
const byName = recordOf(Type.String({ maxLength: 20 }), parameter, { maxProperties: 100 });
/** One schema of two types: after a `oneOf`, an error would be about the type that was not sent. */
const templateParameters = Type.Unsafe<Static<typeof listed> | Static<typeof byName>>({
  ...listed,
  ...byName,
  type: ["array", "object"],
});

const payloads = [
  named(
    "TextPayload",
    Type.Object({ type: Type.Literal("text"), text: Type.String({ minLength: 1, maxLength: maxTextLength }) }, closed),
    { type: "text", text: "Your order has left our warehouse." },
  ),
  named(
    "FilePayload",
    Type.Object(
      {
        type: Type.Literal("file"),
        file_id: { ...uuid, description: "A completed file that the caller may read; API keys need `files:read`." },
        caption: Type.Optional(Type.String({ maxLength: 1024 })),
      },
      closed,
    ),
    { type: "file", file_id: "0197a7a4-6a1c-7d55-8a53-0d9c3f9a6c11", caption: "Our offer" },
  ),
  named(
    "LocationPayload",
    Type.Object(
      {
        type: Type.Literal("location"),
        latitude: Type.Number({ minimum: -90, maximum: 90 }),
        longitude: Type.Number({ minimum: -180, maximum: 180 }),
        name: Type.Optional(Type.String({ maxLength: 1000 })),
      },
      closed,
    ),
    { type: "location", latitude: -23.5613, longitude: -46.6565, name: "Our shop" },
  ),
  named("TemplatePayload", Type.Object({ ...templateFields, parameters: templateParameters }, closed), {
    type: "template",
    name: "hello_world",
    language: "en_US",
    parameters: [],
  }),
  named(
    "ReactionPayload",
    Type.Object(
      {
        type: Type.Literal("reaction"),
        message_id: uuid,
        emoji: Type.String({ maxLength: 32, description: "An empty string removes the reaction." }),
      },
      closed,
    ),
    { type: "reaction", message_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c", emoji: "👍" },
  ),
] as const;

export type MessagePayload = Static<(typeof payloads)[number]>;
export type PayloadType = MessagePayload["type"];

export const Payload = named("Payload", oneOf("type", payloads));

const TemplatePreview = named(
  "TemplatePreview",
  Type.Object({ ...templateFields, parameters: Type.Optional(templateParameters) }, closed),
);

/** As lists of conversations show the last message. */
export const PayloadPreview = named(
  "PayloadPreview",
  oneOf(
    "type",
    payloads.map((payload) => (payload.properties.type.const === "template" ? TemplatePreview : payload)),
  ),
);
