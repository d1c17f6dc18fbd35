import { asksFor } from "../../../contract/src/events.ts";
import type { disabledReasons } from "../../../contract/src/webhook-endpoints.ts";

export type EndpointStatus = "enabled" | "disabled";

export type DisabledReason = (typeof disabledReasons)[number];

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
  /** The user by whose rights it gets events, and the API key, if any; null for an old endpoint. */
  made_by: string | null;
  made_by_key: string | null;
  created_at: Date;
}

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
