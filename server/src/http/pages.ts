import { createHash } from "node:crypto";
import type { FastifyRequest, preHandlerHookHandler, preSerializationHookHandler, RouteOptions } from "fastify";
import { invalid, unknownCursor } from "../errors.ts";
import { isUuid } from "../lib/ids.ts";
import type { OfPage } from "../lib/page-bytes.ts";
import { lastMoment } from "./validation.ts";

/** Where a page ended: the newest-first position (time, id) after which the next one begins. */
interface Position {
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

const markLength = 8;

/**
 * Parts of a query that change neither the items of a list nor their order. The cursors of messages say in which
 * direction they go, and the bounds only end a page earlier: they may be repeated or not.
 */
const unbound = new Set(["cursor", "limit", "offset", "before_seq", "after_seq"]);

/**
 * Binds the cursors of a list to its path, filters and order: with others they would silently begin at a wrong place.
 * The handlers of lists write and read cursors without the mark.
 */
export function bindCursors(route: RouteOptions): void {
  const { querystring } = (route.schema ?? {}) as { querystring?: { properties?: Record<string, unknown> } };
  if (querystring?.properties?.cursor === undefined) return;
  route.preHandler = [checkMark, route.preHandler ?? []].flat();
  route.preSerialization = [route.preSerialization ?? [], addMark].flat();
}

const checkMark: preHandlerHookHandler = (request, _reply, done) => {
  const query = request.query as { cursor?: string };
  if (query.cursor === undefined) return done();
  const mark = query.cursor.slice(-markLength);
  if (mark !== markOfRequest(request)) return done(notOfThisList());
  query.cursor = query.cursor.slice(0, -markLength);
  done();
};

const addMark: preSerializationHookHandler<unknown> = (request, _reply, payload, done) => {
  const { next_cursor } = (payload ?? {}) as { next_cursor?: unknown };
  if (typeof next_cursor !== "string") return done(null, payload);
  done(null, { ...(payload as object), next_cursor: next_cursor + markOfRequest(request) });
};

function markOfRequest({ url, query }: FastifyRequest): string {
  return markOf(url.split("?", 1)[0]!, query as Record<string, unknown>);
}

/** The same for the same list. Not a signature: `decodeCursor` checks what a cursor contains. */
export function markOf(path: string, query: Record<string, unknown>): string {
  const filters = Object.entries(query)
    .filter(([name]) => !unbound.has(name))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const digest = createHash("sha256")
    .update(JSON.stringify([path.toLowerCase(), filters]))
    .digest("base64url");
  return digest.slice(0, markLength);
}

function notOfThisList() {
  const message =
    "cursor is not one of this list with these filters and this order. Repeat the request that gave the cursor, or leave " +
    "cursor out to begin again.";
  return invalid(message, { field: "cursor" });
}
