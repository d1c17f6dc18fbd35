/**
 * SQL: whether unquoted messages may land in the conversation with this id. False for a group with `inbound: "quoted"`.
 */
export function takesUnquoted(conversationId: string): string {
  return `coalesce((SELECT NOT c.settings @> '{"inbound": "quoted"}' FROM conversations c
    WHERE c.conversation_id = ${conversationId}), true)`;
}
