import { type Answer, json } from "../calls.ts";

/** The platform's refusal of a call; thrown. Source: Telegram Bot API server, errors. */
export class BotError extends Error {
  readonly code: number;
  readonly parameters: { retry_after?: number } | undefined;

  constructor(code: number, description: string, parameters?: BotError["parameters"]) {
    super(description);
    this.name = "BotError";
    this.code = code;
    this.parameters = parameters;
  }
}

export function badRequest(description: string): BotError {
  return new BotError(400, `Bad Request: ${description}`);
}

export function tooManyRequests(seconds: number): BotError {
  return new BotError(429, `Too Many Requests: retry after ${seconds}`, { retry_after: seconds });
}

/** The error in the platform's shape; the HTTP status is its code, and 429 has the wait as a header too. */
export function toAnswer({ code, message, parameters }: BotError): Answer {
  const body = { ok: false, error_code: code, description: message, ...(parameters ? { parameters } : {}) };
  const seconds = parameters?.retry_after;
  return json(code, body, seconds === undefined ? undefined : { "retry-after": String(seconds) });
}
