/** Every type of event of the feed, and its frame in sockets, streams and pages. */
export const frameTypes = {
  "message.received": "NEW_MESSAGE",
  "message.accepted": "NEW_MESSAGE",
  "message.in_transit": "MESSAGE_STATUS",
  "message.sent": "MESSAGE_STATUS",
  "message.delivered": "MESSAGE_STATUS",
  "message.read": "MESSAGE_STATUS",
  "message.failed": "MESSAGE_STATUS",
  "conversation.created": "CONVERSATION",
  "conversation.updated": "CONVERSATION",
  "webhook_endpoint.enabled": "WEBHOOK_ENDPOINT",
  "webhook_endpoint.disabled": "WEBHOOK_ENDPOINT",
  "channel_account.active": "CHANNEL_ACCOUNT",
  "channel_account.disabled": "CHANNEL_ACCOUNT",
  "channel_account.needs_attention": "CHANNEL_ACCOUNT",
} as const;
export type EventName = keyof typeof frameTypes;
export type FrameType = (typeof frameTypes)[EventName];

export const eventNames = Object.keys(frameTypes) as [EventName, ...EventName[]];

/** What sockets and streams send live besides events. The feed does not contain it. */
export const liveEvents = { TYPING: "conversation.typing", PRESENCE: "user.presence" } as const;

/** Names that stand for several types in a subscription. */
export const eventGroups = {
  "*": eventNames,
  "message.status": eventNames.filter((name) => frameTypes[name] === "MESSAGE_STATUS"),
} as const satisfies Record<string, readonly EventName[]>;
export type EventGroup = keyof typeof eventGroups;

const groups: ReadonlyMap<string, readonly string[]> = new Map(Object.entries(eventGroups));

/** Whether a subscription to these types and groups includes this type. */
export function asksFor(asked: readonly string[], name: string): boolean {
  return asked.some((one) => one === name || (groups.get(one)?.includes(name) ?? false));
}
