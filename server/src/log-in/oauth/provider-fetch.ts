import type { CustomFetch } from "openid-client";
import type { HttpClient } from "../../lib/http.ts";

/** How long a provider may take to answer one request, in milliseconds. */
export const providerTimeoutMs = 5_000;

/** `fetch` for the OpenID library: bounded in time and size, and redirects are handed back, never followed. */
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

/** The library sends forms, and nothing else. */
function bodyText(body: unknown): string {
  if (typeof body === "string" || body instanceof URLSearchParams) return String(body);
  throw new TypeError("a request to a provider has a body that is no form");
}
