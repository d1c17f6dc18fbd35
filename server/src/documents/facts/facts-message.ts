import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import { failure } from "../process-message.ts";

const count = (maximum: number) => Type.Union([Type.Integer({ minimum: 0, maximum }), Type.Null()]);

/** A PNG has at most 2 ** 31 - 1; so has a column of the database. */
export const maxCount = 2 ** 31 - 1;

const facts = Type.Object({
  /** Pixels, as it is shown: after it was turned as its metadata say. Null where there are none. */
  width: count(maxCount),
  height: count(maxCount),
  /** Of audio and video, in milliseconds; null also when it cannot be said. */
  durationMs: count(maxCount),
  /** Of a PDF. */
  pages: count(maxCount),
});

const message = Type.Union([Type.Object({ failure }), Type.Object({ facts })]);

export type Facts = Static<typeof facts>;
/** What the process that describes a file reports. */
export type FactsMessage = Static<typeof message>;

export const noFacts: Facts = { width: null, height: null, durationMs: null, pages: null };

/** Throws when a message has another form. */
export function parseMessage(value: unknown): FactsMessage {
  return Value.Parse(message, value);
}
