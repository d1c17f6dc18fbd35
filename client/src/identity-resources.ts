/** Who may do what, as the contract names it. Times are ISO 8601 in UTC. */

import type { Role } from "./resources.ts";

export interface Invitation {
  invitation_id: string;
  email: string;
  role: Role;
  invited_by: string;
  /** The API key by which it was made; null for a logged-in user. */
  made_by_key_id: string | null;
  expires_at: string;
  created_at: string;
}

/** What lets somebody in without a password: shown this once, and mailed when the hub has a mail server. */
export interface OneTimeLink {
  token: string;
  url: string;
  mailed: boolean;
}

/** What ends together with an old password. */
export interface Ending {
  /** Default: true. */
  revoke_sessions?: boolean;
  /**
   * API keys, invitations, password resets and webhook endpoints made at this time or later; default: for a reset all, for
   * a change those since they were last ended all together; null: none.
   */
  revoke_api_keys_since?: string | null;
}

export interface UserAddresses {
  user_id: string;
  display_name: string;
  addresses: string[];
}

/** The hub sends a code to the address. The answer is the same when the platform does not take it. */
export interface AddressVerification {
  verification_id: string;
  expires_at: string;
  /** What to do when no code arrives. */
  help: string;
}

export interface LogInProvider {
  provider: string;
  /** Where a browser begins. */
  url: string;
}

/** A second factor that is not confirmed yet: nothing asks for it. */
export interface NewSecondFactor {
  secret: string;
  /** What authenticator apps read from a picture. */
  otpauth_url: string;
}

export interface AuditRecord {
  workspace_id: string;
  /** From 1 in each workspace, without gaps. */
  position: number;
  at: string;
  actor_kind: "user" | "api_key" | "anonymous" | "system";
  actor_id: string | null;
  action: string;
  target_type: string | null;
  target_id: string | null;
  details: Record<string, string | number | boolean | null>;
  ip: string | null;
  request_id: string | null;
  hash: string;
}

export interface AuditQuery {
  action?: string;
  actor_id?: string;
  target_id?: string;
  from?: string;
  to?: string;
}
