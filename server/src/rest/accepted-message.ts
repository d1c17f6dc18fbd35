import { Type } from "typebox";
import type { Accepted } from "../messages/accept.ts";
import { time } from "./identity-schemas.ts";

export const acceptedMessage = Type.Object({
  message_id: Type.String(),
  conversation_id: Type.String(),
  seq: Type.Integer(),
  status: Type.Literal("accepted"),
  created_at: time,
});

export function showAccepted({ messageId, conversationId, seq, createdAt }: Accepted & { kind: "accepted" }) {
  return {
    message_id: messageId,
    conversation_id: conversationId,
    seq,
    status: "accepted" as const,
    created_at: createdAt.toISOString(),
  };
}
