import { type Static, Type } from "typebox";

const strict = { additionalProperties: false };

/** Longest text of a message, in characters as JSON Schema counts them (code points). */
export const maxTextLength = 65_536;

export const textPayload = Type.Object(
  { type: Type.Literal("text"), text: Type.String({ minLength: 1, maxLength: maxTextLength }) },
  strict,
);
export const filePayload = Type.Object(
  {
    type: Type.Literal("file"),
    file_id: Type.String({ format: "uuid" }),
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
      Type.Record(Type.String({ maxLength: 20 }), Type.String({ maxLength: 32_768 })),
    ]),
  },
  strict,
);
export const reactionPayload = Type.Object(
  {
    type: Type.Literal("reaction"),
    message_id: Type.String({ format: "uuid" }),
    emoji: Type.String({ maxLength: 32, description: "An empty string takes the reaction back." }),
  },
  strict,
);

/** What was said, in the hub's own words. */
export const messagePayload = Type.Union([textPayload, filePayload, locationPayload, templatePayload, reactionPayload]);
export type MessagePayload = Static<typeof messagePayload>;
export type PayloadType = MessagePayload["type"];
