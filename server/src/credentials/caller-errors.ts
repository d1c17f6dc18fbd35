import { RequestError } from "../errors.ts";

export function endedSession(): RequestError {
  return new RequestError("AUTH_INVALID", "This session has ended: log in again with POST /auth/token.");
}

export function invalidApiKey(): RequestError {
  return new RequestError("API_KEY_INVALID", "This API key is unknown, revoked or expired: make a new one.");
}
