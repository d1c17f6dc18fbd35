import { type Static, Type } from "typebox";

const strict = { additionalProperties: false };

/** As PostgreSQL reads it: the format `uuid` of JSON Schema would let `urn:uuid:` pass. */
export const uuid = Type.String({
  pattern: "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
  description: "A UUID",
});

/** Longest text of a message, in characters as JSON Schema counts them (code points). */
export const maxTextLength = 65_536;

export const textPayload = Type.Object(
  { type: Type.Literal("text"), text: Type.String({ minLength: 1, maxLength: maxTextLength }) },
  strict,
);
export const filePayload = Type.Object(
  {
    type: Type.Literal("file"),
    file_id: uuid,
    caption: Type.Optional(Type.String({ maxLength: 1024 })),
  },
  strict,
);
export const locationPayload = Type.Object(
  {
    type: Type.Literal("location"),
    latitude: Type.Number({ minimum: -90, maximum: 90 }),
    longitude: Type.Number({ minimum: -180, maximum: 180 }),
    name: Type.Optional(Type.String({ maxLength: 1000 })),
  },
  strict,
);
export const templatePayload = Type.Object(
  {
    type: Type.Literal("template"),
    name: Type.String({ minLength: 1, maxLength: 512 }),
    language: Type.String({ minLength: 2, maxLength: 20 }),
    parameters: Type.Union([
      Type.Array(Type.String({ maxLength: 32_768 }), { maxItems: 100 }),
      Type.Unsafe<Record<string, string>>({
        type: "object",
        additionalProperties: { type: "string", maxLength: 32_768 },
        propertyNames: { maxLength: 20 },
        maxProperties: 100,
      }),
    ]),
  },
  strict,
);
export const reactionPayload = Type.Object(
  {
    type: Type.Literal("reaction"),
    message_id: uuid,
    emoji: Type.String({ maxLength: 32, description: "An empty string takes the reaction back." }),
  },
  strict,
);

const payloads = [textPayload, filePayload, locationPayload, templatePayload, reactionPayload] as const;

/** What was said, in the hub's own words. */
export type MessagePayload = Static<(typeof payloads)[number]>;
export type PayloadType = MessagePayload["type"];

/** `type` chooses the shape, so that an error names the field of that shape and not one of every other. */
export const messagePayload = Type.Unsafe<MessagePayload>({
  type: "object",
  required: ["type"],
  discriminator: { propertyName: "type" },
  oneOf: payloads,
});
