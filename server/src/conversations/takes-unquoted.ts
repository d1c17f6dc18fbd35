/**
 * SQL: whether unquoted messages may land in the conversation with this id. False for a group with `inbound: "quoted"`.
 */
export function takesUnquoted(conversationId: string): string {
  return `coalesce((SELECT NOT c.settings @> '{"inbound": "quoted"}' FROM conversations c
    WHERE c.conversation_id = ${conversationId}), true)`;
}

/** SQL: the id of the conversation that is used in place of this one since contacts were merged; else its own. */
export function continuationOf(conversationId: string): string {
  return `coalesce((SELECT (c.settings ->> 'continued_in')::uuid FROM conversations c
    WHERE c.conversation_id = ${conversationId}), ${conversationId})`;
}
