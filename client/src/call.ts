import type { operations } from "../../contract/openapi.ts";
import { pause } from "./pause.ts";

/** How a request authenticates: a token that works already, or a user's name and password. */
export type Credential = { token: string } | { username: string; password: string };

/** The hub refused a request. `code` is one of the contract's closed list. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly code: string;
  readonly details: Record<string, unknown>;
  readonly requestId: string | null;
  /** Seconds to wait before trying again, where the hub says so. */
  readonly retryAfterSeconds: number | null;

  constructor(response: Response, body: unknown) {
    const { code, message, details, request_id } = errorOf(body);
    super(message ?? `The hub returned ${response.status} without a reason.`);
    this.status = response.status;
    this.code = code ?? "INTERNAL";
    this.details = details ?? {};
    this.requestId = request_id ?? response.headers.get("x-request-id");
    const wait = response.headers.get("retry-after");
    this.retryAfterSeconds = wait === null ? null : Number(wait);
  }
}

interface ErrorFields {
  code?: string;
  message?: string;
  details?: Record<string, unknown>;
  request_id?: string;
}

function errorOf(body: unknown): ErrorFields {
  const error = (body as { error?: ErrorFields } | null)?.error;
  return typeof error === "object" && error !== null ? error : {};
}

interface CallOptions {
  /** Sent as JSON, unless it is a text or a form. */
  body?: unknown;
  query?: Record<string, string | number | undefined>;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  isPublic?: boolean;
}

interface Answer<Body> {
  status: number;
  headers: Headers;
  body: Body;
}

/**
 * One request. Throws `ApiError` when the hub refuses it, and the error of `fetch` when there is no response. After 429 it is
 * retried up to `maxRetries` times, when `retry-after` has passed.
 */
export type Call = <Body>(method: string, path: string, options?: CallOptions) => Promise<Answer<Body>>;

interface CallerOptions {
  url: string;
  authorization: () => Promise<string | null>;
  fetch: typeof fetch;
}

export type Query<Id extends keyof operations> = NonNullable<operations[Id]["parameters"]["query"]>;

export type PageQuery = Pick<Query<"listContacts">, "limit" | "cursor">;

export interface Page<Item> {
  data: Item[];
  next_cursor: string | null;
}

const maxRetries = 2;
/** A longer wait is left to the caller. */
const longestWaitSeconds = 5;

export function openCall({ url, authorization, fetch }: CallerOptions): Call {
  return async <Body>(method: string, path: string, options: CallOptions = {}) => {
    const { body, query, signal, isPublic } = options;
    const headers: Record<string, string> = { ...options.headers };
    const credential = isPublic ? null : await authorization();
    if (credential !== null) headers.authorization ??= credential;
    const isForm = body instanceof FormData;
    // That of a form has its boundary.
    if (body !== undefined && !isForm) headers["content-type"] ??= "application/json";
    for (let retries = 0; ; retries += 1) {
      const response = await fetch(`${url}${path}${toQuery(query)}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body: typeof body === "string" || isForm ? body : JSON.stringify(body) }),
        ...(signal === undefined ? {} : { signal }),
      });
      const answer = parse(await response.text());
      if (response.ok) return { status: response.status, headers: response.headers, body: answer as Body };
      const refusal = new ApiError(response, answer);
      const seconds = response.status === 429 && retries < maxRetries ? refusal.retryAfterSeconds : null;
      if (seconds === null || !(seconds <= longestWaitSeconds)) throw refusal;
      await pause(seconds * 1_000, signal);
    }
  };
}

function toQuery(query: CallOptions["query"] = {}): string {
  const given = Object.entries(query).filter((entry): entry is [string, string | number] => entry[1] !== undefined);
  if (given.length === 0) return "";
  return `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

/** Null for no body; a text that is no JSON as it is. */
function parse(text: string): unknown {
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export async function bodyOf<Body>(call: Call, ...[method, path, options]: Parameters<Call>): Promise<Body> {
  return (await call<Body>(method, path, options)).body;
}

export function page<Item>(call: Call, path: string, query: object = {}): Promise<Page<Item>> {
  return bodyOf(call, "GET", path, { query: query as Record<string, string | number | undefined> });
}
