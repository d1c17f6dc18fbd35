import { invalid } from "../errors.ts";

/**
 * The position of the last event that a client has, with a mark of that event. After a restore of an older backup the
 * feed grows past the position with other events, which have other marks. Null: not checked.
 */
export interface Cursor {
  position: number;
  mark: number | null;
}

const markBound = 36 ** 6;

/** SQL of the mark of events that were written at this time: the lower part of its microseconds. */
export function markOf(time: string): string {
  return `((date_part('epoch', ${time}) * 1e6)::bigint % ${markBound})`;
}

export function toCursor({ position, mark }: Cursor): string {
  return mark === null ? String(position) : `${position}-${mark.toString(36)}`;
}

const form = /^(\d{1,15})(?:-([0-9a-z]{1,6}))?$/;

export function isCursor(text: string): boolean {
  return form.test(text);
}

/** Also accepts a bare position. Throws VALIDATION_ERROR that names the field for anything else. */
export function parseCursor(cursor: string, field = "cursor"): Cursor {
  const match = form.exec(cursor);
  if (match === null) {
    throw invalid(`${field} is not a cursor of the feed. Take one from HELLO, an event or GET /v1/events.`, { field });
  }
  const [, position, mark] = match;
  return { position: Number(position), mark: mark === undefined ? null : Number.parseInt(mark, 36) };
}

/** The events that one statement wrote. */
export interface Batch {
  last_position: number;
  event_count: number;
  mark: number;
}

export function firstOf({ last_position, event_count }: Omit<Batch, "mark">): number {
  return last_position - event_count + 1;
}

/**
 * Why nothing can be read after a cursor; null when it can. `next` is the first batch that ends at the cursor or later.
 * A cursor is valid while its event is stored, or is the newest.
 */
export function gapAfter({ position, mark }: Cursor, head: Cursor, next: Batch | undefined): GapReason | null {
  const isOf = (other: number | null) => mark === null || other === null || mark === other;
  if (position > head.position) return "unknown";
  if (position === head.position) return isOf(head.mark) ? null : "unknown";
  if (next === undefined || firstOf(next) > position + 1) return "expired";
  if (firstOf(next) > position) return mark === null ? null : "expired";
  return isOf(next.mark) ? null : "unknown";
}

/** `expired`: older than EVENTS_RETENTION. `unknown`: of another feed, as after a restore of the database. */
export type GapReason = "expired" | "unknown";
