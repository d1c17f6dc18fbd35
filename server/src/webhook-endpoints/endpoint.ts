import { asksFor, type EventGroup, eventGroups, eventNames } from "../events/events.ts";

/** What `POST …/test` sends, whatever the endpoint asks for. */
export const testEvent = "webhook_endpoint.test";

/** The names that an endpoint may subscribe to: types of events, and groups of types. */
export const webhookEvents = [...(Object.keys(eventGroups) as EventGroup[]), ...eventNames, testEvent] as const;

/** Of one workspace. */
export const maxEndpoints = 50;

export type EndpointStatus = "enabled" | "disabled";

/**
 * Why it is disabled: an admin said so, it answered 410, nothing reached it for five days, or the user or API key that
 * made it could not make it now.
 */
export const disabledReasons = ["requested", "gone", "failing", "maker_lost_access"] as const;
export type DisabledReason = (typeof disabledReasons)[number];

/** An endpoint as its workspace sees it: without its secrets. */
export interface WebhookEndpoint {
  webhook_endpoint_id: string;
  workspace_id: string;
  url: string;
  events: string[];
  description: string | null;
  is_ordered: boolean;
  status: EndpointStatus;
  disabled_at: Date | null;
  disabled_reason: DisabledReason | null;
  failing_since: Date | null;
  old_secret_until: Date | null;
  /** The user by whose right it gets events, and the API key, if it was one; null for an old endpoint. */
  made_by: string | null;
  made_by_key: string | null;
  created_at: Date;
}

/** What sending to it takes. */
export interface SealedEndpoint extends WebhookEndpoint {
  secret_sealed: Buffer;
  old_secret_sealed: Buffer | null;
}

export interface EndpointKey {
  workspaceId: string;
  endpointId: string;
}

export function wants(endpoint: { events: readonly string[] }, event: string): boolean {
  return asksFor(endpoint.events, event);
}
