import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import { maxPages, maxTitleLength } from "./bounds.ts";
import { documentErrorCodes } from "./document-error.ts";

const count = Type.Number({ minimum: 0 });
const title = Type.String({ maxLength: maxTitleLength });

const progress = Type.Object({
  /** Pages or parts that are read. May be a fraction, as when half of a page is recognised. */
  done: count,
  /** Of all. */
  total: count,
});

const mark = Type.Object({
  kind: Type.Union([Type.Literal("page"), Type.Literal("sheet"), Type.Literal("slide")]),
  /** From 1, in the order of the document. */
  number: count,
  /** The name of the sheet, or the title of the slide. */
  title: Type.Optional(title),
  /** Where it starts in the text, in UTF-16 code units. */
  offset: count,
});

export const failure = Type.Object({
  code: Type.Enum(documentErrorCodes),
  message: Type.String({ maxLength: 1_000 }),
  /** Where an error of a library came from, without its message, which may quote the document. */
  trace: Type.String({ maxLength: 10_000 }),
});

const result = Type.Object({
  marks: Type.Array(mark, { maxItems: maxPages }),
  language: Type.Union([Type.String({ maxLength: 10 }), Type.Null()]),
  words: count,
  title: Type.Union([title, Type.Null()]),
});

const message = Type.Union([Type.Object({ progress }), Type.Object({ failure }), Type.Object({ result })]);

export type DocumentProgress = Static<typeof progress>;
export type TextMark = Static<typeof mark>;
export type ReadFailure = Static<typeof failure>;
export type ReadResult = Static<typeof result>;
/** What the process that reads a document reports. */
export type ProcessMessage = Static<typeof message>;

/** Throws when a message has another form. */
export function parseMessage(value: unknown): ProcessMessage {
  return Value.Parse(message, value);
}
