/** The only list of error codes: every way in which a request can fail, with its HTTP status. */
export const errorCodes = {
  AUTH_REQUIRED: { http: 401 },
  AUTH_INVALID: { http: 401 },
  AUTH_EXPIRED: { http: 401 },
  API_KEY_INVALID: { http: 401 },
  FORBIDDEN: { http: 403 },
  RESOURCE_NOT_FOUND: { http: 404 },
  TASK_NOT_FOUND: { http: 404 },
  METHOD_NOT_ALLOWED: { http: 405 },
  VALIDATION_ERROR: { http: 400 },
  CONFLICT: { http: 409 },
  IDEMPOTENCY_CONFLICT: { http: 409 },
  TASK_ALREADY_COMPLETED: { http: 409 },
  MISDIRECTED: { http: 421 },
  PAYLOAD_TOO_LARGE: { http: 413 },
  FILE_TOO_LARGE: { http: 413 },
  FILE_TYPE_INVALID: { http: 415 },
  CONTENT_TYPE_INVALID: { http: 415 },
  DOCUMENT_TYPE_UNSUPPORTED: { http: 422 },
  NO_ROUTE: { http: 422 },
  CHANNEL_CREDENTIALS_INVALID: { http: 422 },
  CHECKSUM_MISMATCH: { http: 422 },
  FILE_INFECTED: { http: 422 },
  FILE_NOT_SCANNED: { http: 422 },
  REQUEST_TIMEOUT: { http: 408 },
  HEADERS_TOO_LARGE: { http: 431 },
  RATE_LIMIT_EXCEEDED: { http: 429 },
  OVERLOADED: { http: 503 },
  SEARCH_TIMEOUT: { http: 503 },
  CHANNEL_UNAVAILABLE: { http: 503 },
  INTERNAL: { http: 500 },
} as const satisfies Record<string, { http: number }>;

export type ErrorCode = keyof typeof errorCodes;

/**
 * An error of the caller, or something to wait for. `message` is public: it says what is wrong and what to do.
 */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly code: ErrorCode;
  /** Public; never a token, a password or message text. */
  readonly details: Record<string, unknown> | undefined;
  /** Seconds until a retry makes sense: sent as `retry-after`. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: Record<string, unknown>; retryAfterSeconds?: number; cause?: unknown } = {},
  ) {
    super(cut(message, maxMessageLength), { cause: options.cause });
    this.code = code;
    this.details = options.details && Object.fromEntries(Object.entries(options.details).map(cutDetail));
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** Messages and details are truncated, because they may quote the request. In characters. */
const maxMessageLength = 1_000;
const maxDetailLength = 200;

function cutDetail([name, value]: [string, unknown]): [string, unknown] {
  return [name, typeof value === "string" ? cut(value, maxDetailLength) : value];
}

function cut(text: string, maxLength: number): string {
  return text.length > maxLength ? `${text.slice(0, maxLength)}…`.toWellFormed() : text;
}

/** Absent, or of another workspace: the response is the same. */
export function notFound(what: string): RequestError {
  return new RequestError("RESOURCE_NOT_FOUND", `There is no such ${what} in this workspace.`);
}

export function invalid(message: string, details?: Record<string, unknown>): RequestError {
  return new RequestError("VALIDATION_ERROR", message, details ? { details } : {});
}

/** For a cursor that does not have the form of a list's cursors. */
export function unknownCursor(): RequestError {
  return invalid("cursor is not a cursor of this list; leave it out to start from the beginning.");
}

export function forbidden(message: string, details?: Record<string, unknown>): RequestError {
  return new RequestError("FORBIDDEN", message, details === undefined ? {} : { details });
}

/** For sockets and event streams in a process without the role realtime. */
export function withoutRealtime(): RequestError {
  const message =
    "This process serves no sockets and no event streams. Connect to a process with the role realtime (ROLES).";
  return new RequestError("MISDIRECTED", message);
}
