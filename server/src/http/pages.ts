import { unknownCursor } from "../errors.ts";
import { isUuid } from "../lib/ids.ts";
import type { OfPage } from "../lib/page-bytes.ts";
import { lastMoment } from "./validation.ts";

/** Where a page ended: the newest-first position (time, id) after which the next one begins. */
export interface Position {
  at: Date;
  id: string;
}

/** Turns up to `limit + 1` rows into a page. The extra row shows only that there is a next page. */
export function toPage<Row, Item>(
  rows: (Row & Partial<OfPage>)[],
  limit: number,
  show: (row: Row) => Item,
  position: (row: Row) => Position,
) {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const hasMore = rows.length > limit || last?.more_follow === true;
  return { data: shown.map(show), next_cursor: hasMore && last ? encodeCursor(position(last)) : null };
}

export function encodeCursor({ at, id }: Position): string {
  return Buffer.from(`${at.getTime()}:${id}`).toString("base64url");
}

/** Undefined when there is no cursor; throws VALIDATION_ERROR for one that we did not make. */
export function decodeCursor(cursor: string | undefined): Position | undefined {
  if (cursor === undefined) return undefined;
  const match = /^(\d{1,15}):(.{36})$/.exec(Buffer.from(cursor, "base64url").toString());
  if (match === null || !isUuid(match[2]!) || Number(match[1]) > lastMoment) throw unknownCursor();
  return { at: new Date(Number(match[1])), id: match[2]! };
}
