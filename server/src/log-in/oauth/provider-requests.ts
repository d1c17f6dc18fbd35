import { AuthorizationResponseError, ClientError, type CustomFetch, ResponseBodyError } from "openid-client";
import { forbidden, RequestError } from "../../errors.ts";
import { type HttpClient, HttpError } from "../../lib/http.ts";

/** The error for a person when a provider declines, cannot be reached, or sends an invalid response. */
export function providerError(provider: string, error: unknown): RequestError {
  if (error instanceof RequestError) return error;
  if (error instanceof AuthorizationResponseError) return declined(provider, error);
  if (isUnavailable(error)) return unavailable(provider, error);
  const message = `The response from ${provider} is not valid: start the login again.`;
  return new RequestError("AUTH_INVALID", message, { cause: error });
}

function unavailable(provider: string, cause: unknown): RequestError {
  const message = `${provider} does not respond: try again in a moment, or log in with a password.`;
  return new RequestError("CHANNEL_UNAVAILABLE", message, { retryAfterSeconds: 5, cause });
}

/** Source: RFC 6749, section 4.1.2.1. */
function declined(provider: string, error: AuthorizationResponseError): RequestError {
  if (error.error === "access_denied") return forbidden(`The login was cancelled at ${provider}.`);
  if (error.error === "server_error" || error.error === "temporarily_unavailable") return unavailable(provider, error);
  const code = /^[\w.-]{1,60}$/.test(error.error) ? error.error : "an unknown error";
  return forbidden(`${provider} refused the login (${code}): an admin may have to correct its settings there.`);
}

/** No response, or one with 429, 500 or above, at any depth of the library's causes. */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof HttpError) return true;
  if (error instanceof ResponseBodyError) return isUnavailableStatus(error.status);
  if (!(error instanceof ClientError)) return false;
  if (error.code === "OAUTH_TIMEOUT" || error.code === "OAUTH_ABORT") return true;
  if (error.cause instanceof Response) return isUnavailableStatus(error.cause.status);
  return isUnavailable(error.cause);
}

function isUnavailableStatus(status: number): boolean {
  return status === 429 || status >= 500;
}

export const providerTimeoutMs = 5_000;

/** `fetch` for the OpenID library: bounded in time and size, and without following redirects. */
export function providerFetch(http: HttpClient): CustomFetch {
  return async (url, { method, headers, body, signal }) => {
    const answer = await http({
      method,
      url,
      headers,
      timeoutMs: providerTimeoutMs,
      ...(body ? { body: bodyText(body) } : {}),
      ...(signal ? { signal } : {}),
    });
    const given = Object.entries(answer.headers).filter((entry): entry is [string, string] => entry[1] !== undefined);
    const hasNoBody = [204, 205, 304].includes(answer.status);
    return new Response(hasNoBody ? null : answer.body, { status: answer.status, headers: given });
  };
}

function bodyText(body: unknown): string {
  if (typeof body === "string" || body instanceof URLSearchParams) return String(body);
  throw new TypeError("the body of a request to a provider is not a form");
}
