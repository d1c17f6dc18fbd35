import { Type } from "typebox";
import { readHistory } from "../conversations/conversations.ts";
import { pageOf, pageQuery } from "../http/pages.ts";
import type { App } from "../http/server.ts";
import type { Viewer } from "../identity/principal.ts";
import type { Db } from "../lib/query.ts";
import { type MessageResource, type MessageRow, messageResource } from "../messages/show.ts";
import { bearer, errorAnswers, idParams } from "./identity-schemas.ts";

export interface ConversationMessageRouteDeps {
  showMessages: (db: Db, viewer: Viewer, rows: readonly MessageRow[]) => Promise<MessageResource[]>;
}

const maxSeq = Number.MAX_SAFE_INTEGER;

/** `GET /v1/conversations/{id}/messages`: what was said, a page at a time, from either end. */
export function conversationMessageRoutes(app: App, { showMessages }: ConversationMessageRouteDeps): void {
  app.get(
    "/v1/conversations/:id/messages",
    {
      config: { access: { role: "member", scope: "messages:read" } },
      schema: {
        tags: ["Conversations"],
        security: bearer,
        summary: "List the messages of a conversation",
        description:
          "Newest first; oldest first when `after_seq` is given. Both bounds are left out themselves. `offset` counts " +
          "from the end at which the page begins; with a `cursor` it is over. A page may hold fewer messages than `limit`: it " +
          "ends at about 1 MiB, deliveries included.",
        params: idParams,
        querystring: Type.Object(
          {
            ...pageQuery.properties,
            offset: Type.Optional(Type.Integer({ minimum: 0, maximum: maxSeq, default: 0 })),
            before_seq: Type.Optional(Type.Integer({ minimum: 1, maximum: maxSeq })),
            after_seq: Type.Optional(Type.Integer({ minimum: 0, maximum: maxSeq })),
          },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(messageResource), ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params, query: { limit = 50, offset = 0, cursor, before_seq, after_seq } }) => {
      const span = { limit, offset, cursor, beforeSeq: before_seq, afterSeq: after_seq };
      const { rows, nextCursor } = await readHistory(db, principal, params.id, span);
      return { data: await showMessages(db, principal, rows), next_cursor: nextCursor };
    },
  );
}
