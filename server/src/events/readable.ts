import type { Scope } from "../../../contract/src/access.ts";
import { eventNames, feedScopes } from "../../../contract/src/events.ts";
import {
  hasRole,
  hasScope,
  type Principal,
  requireScope,
  type Scoped,
  seesAllConversations,
} from "../credentials/credentials.ts";
import { forbidden } from "../errors.ts";
import type { FeedEvent } from "./feed-event.ts";
import type { MembersOf } from "./memberships.ts";

/** Throws FORBIDDEN that names the scope. */
export function requireFeedScopes(by: Scoped): void {
  requireScope(by, ...feedScopes);
}

/** The scope for events, by the first part of their names. All other events need all scopes. */
const scopesByNoun: Readonly<Record<string, Scope>> = {
  message: "messages:read",
  conversation: "conversations:read",
  webhook_endpoint: "webhook-endpoints:read",
  channel_account: "channel-accounts:read",
  contact: "contacts:read",
  user: "users:read",
  file: "files:read",
  task: "tasks:read",
};

function scopeOf(event: string): Scope | "*" {
  return event === "*" ? "*" : (scopesByNoun[event.split(".")[0]!] ?? "*");
}

/** Whether an API key may read this event. For users the role decides. */
export function mayRead(by: Scoped, event: string): boolean {
  return hasScope(by, scopeOf(event));
}

/** Throws FORBIDDEN that names the event and the scope; `*` is all events. */
export function requireMayRead(by: Scoped, events: readonly string[]): void {
  for (const event of events) {
    const scope = scopeOf(event);
    if (hasScope(by, scope)) continue;
    throw forbidden(
      scope === "*"
        ? `An API key with limited scopes cannot subscribe to the events "${event}". Name events that it may read.`
        : `This API key may not read ${event}: that requires the scope \`${scope}\`.`,
    );
  }
}

const feedNames: ReadonlySet<string> = new Set(
  eventNames.filter((name) => (feedScopes as readonly string[]).includes(scopeOf(name))),
);

/** Whether all who read the feed may read events of this name, in conversations that they see. */
export function isOfEveryFeed({ name }: Pick<FeedEvent, "name">): boolean {
  return feedNames.has(name);
}

/** Whether the caller sees an event of no conversation. */
export function seesOutside(principal: Principal, { onlyFor, name }: Pick<FeedEvent, "onlyFor" | "name">): boolean {
  if (!mayRead(principal, name)) return false;
  if (onlyFor === null) return seesAllConversations(principal);
  return onlyFor === principal.userId || hasRole(principal, "admin");
}

/**
 * Which frame of an event the caller sees as of now: the whole one, the one for members, the last one of a conversation
 * that it has left, or none (null). `membersOf` must have loaded the event's conversation, unless the caller sees all.
 */
export function visibleFrame(
  principal: Principal,
  event: Pick<FeedEvent, "conversationId" | "onlyFor" | "alsoSeenBy" | "name">,
  membersOf: MembersOf,
): "frame" | "memberFrame" | "partingFrame" | null {
  const { conversationId, alsoSeenBy } = event;
  if (conversationId === null) return seesOutside(principal, event) ? "frame" : null;
  if (!isOfEveryFeed(event) && !mayRead(principal, event.name)) return null;
  if (seesAllConversations(principal)) return "frame";
  if (membersOf(conversationId).includes(principal.participantId)) return "memberFrame";
  return alsoSeenBy === principal.participantId ? "partingFrame" : null;
}
