import type OpenAI from "openai";
import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import type { HttpClient } from "../lib/http.ts";
import { retryAfterMs } from "../lib/retry-after.ts";
import type { ChatMessage } from "./prompts.ts";
import type { SummaryErrorCode } from "./summary-error.ts";

export interface ChatRequest {
  /** Null: without a credential. */
  apiKey: string | null;
  model: string;
  messages: readonly ChatMessage[];
  maxTokens: number;
  /** What this endpoint does not understand. */
  without: ReadonlySet<OptionalParameter>;
  signal: AbortSignal;
}

export type OptionalParameter = "response_format" | "max_tokens";

export type ChatOutcome = { status: number | null } & (
  | { kind: "completed"; content: string; isCut: boolean; tokens: { input: number; output: number } | null }
  /** Overloaded, unreachable, or a response that cannot be read. */
  | { kind: "retry"; reason: string; retryAfterMs: number | null }
  /** The messages and the response are longer than the model's context. */
  | { kind: "too_long" }
  | { kind: "unsupported"; parameter: OptionalParameter }
  | { kind: "failed"; code: SummaryErrorCode }
);

export interface ChatEndpoint {
  /** One request. Rejects with the reason of the signal, and otherwise never. */
  chat(request: ChatRequest): Promise<ChatOutcome>;
}

interface ChatEndpointOptions {
  baseUrl: string;
  timeoutMs: number;
  /** Follows no redirect, so that a key reaches no other host. */
  http: HttpClient;
  clock: { now(): number };
}

/** An OpenAI-compatible endpoint. Each request has a key of its own, and nothing comes from the environment. */
export function openChatEndpoint(options: ChatEndpointOptions): ChatEndpoint {
  // It loads 200 modules.
  let loaded: Promise<typeof import("openai")> | undefined;
  return {
    async chat(request) {
      if (request.apiKey !== null && !/^[\x21-\x7e]+$/.test(request.apiKey)) {
        return { kind: "failed", code: "API_KEY_INVALID", status: null };
      }
      loaded ??= import("openai");
      const { OpenAI, APIError } = await loaded;
      const client = new OpenAI({
        ...settings,
        ...connectionOf(options, request.signal),
        ...credentialOf(request.apiKey),
      });
      try {
        const { data, response } = await client.chat.completions
          .create(parametersOf(request), { signal: request.signal })
          .withResponse();
        return outcomeOf(data, response.status);
      } catch (error) {
        request.signal.throwIfAborted();
        if (error instanceof APIError && error.status !== undefined) return failureOf(error, options.clock.now());
        return { kind: "retry", reason: "no response", retryAfterMs: null, status: null };
      }
    },
  };
}

const settings = {
  adminAPIKey: null,
  organization: null,
  project: null,
  webhookSecret: null,
  maxRetries: 0,
  logLevel: "off",
} as const;

function connectionOf({ baseUrl, timeoutMs, http }: ChatEndpointOptions, signal: AbortSignal) {
  return {
    baseURL: baseUrl,
    // `http` has the same limit, from the wait for a connection to the last byte, and ends first.
    timeout: timeoutMs + 1_000,
    async fetch(url: string | URL | Request, init?: RequestInit): Promise<Response> {
      const { status, headers, body } = await http({
        method: init!.method!,
        url: String(url),
        headers: Object.fromEntries(new Headers(init!.headers)),
        body: init!.body as string,
        timeoutMs,
        signal,
      });
      const known = Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined);
      return new Response(status === 204 || status === 304 ? null : body, { status, headers: known });
    },
  };
}

function credentialOf(apiKey: string | null) {
  if (apiKey !== null) return { apiKey };
  return { apiKey: "none", defaultHeaders: { Authorization: null } };
}

function parametersOf({ model, messages, maxTokens, without }: ChatRequest) {
  const parameters: OpenAI.ChatCompletionCreateParamsNonStreaming = { model, messages: [...messages] };
  if (!without.has("response_format")) parameters.response_format = { type: "json_object" };
  // Reasoning models of OpenAI know the newer name only, most other endpoints the older one only.
  if (without.has("max_tokens")) parameters.max_completion_tokens = maxTokens;
  else parameters.max_tokens = maxTokens;
  return parameters;
}

const tokenCount = Type.Integer({ minimum: 0, maximum: 1e9 });
const completion = Type.Object({
  choices: Type.Array(
    Type.Object({
      message: Type.Object({
        content: Type.Optional(Type.Union([Type.String(), Type.Null()])),
        refusal: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      }),
      finish_reason: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    }),
    { minItems: 1 },
  ),
});
const usage = Type.Object({ usage: Type.Object({ prompt_tokens: tokenCount, completion_tokens: tokenCount }) });

function outcomeOf(body: unknown, status: number): ChatOutcome {
  if (!Value.Check(completion, body))
    return { kind: "retry", reason: "not a chat completion", retryAfterMs: null, status };
  const { message, finish_reason } = (body as Static<typeof completion>).choices[0]!;
  if (finish_reason === "content_filter" || message.refusal)
    return { kind: "failed", code: "LLM_CONTENT_REFUSED", status };
  const tokens = Value.Check(usage, body)
    ? { input: body.usage.prompt_tokens, output: body.usage.completion_tokens }
    : null;
  return { kind: "completed", content: message.content ?? "", isCut: finish_reason === "length", tokens, status };
}

interface ApiFailure {
  status: number | undefined;
  headers: Headers | undefined;
  code?: unknown;
  type?: unknown;
  param?: unknown;
  message: string;
}

/** Endpoints agree on statuses, but hardly on codes: the words of their messages decide where they differ. */
function failureOf({ status = 0, headers, code, type, param, message }: ApiFailure, now: number): ChatOutcome {
  const says = (pattern: RegExp) =>
    [code, type, message].some((text) => typeof text === "string" && pattern.test(text));
  const failed = (failure: SummaryErrorCode): ChatOutcome => ({ kind: "failed", code: failure, status });
  if (status === 413 || says(contextLength)) return { kind: "too_long", status };
  if (says(noCredit) || status === 402) return failed("LLM_QUOTA_EXCEEDED");
  if (status === 401 || status === 403) return failed("API_KEY_INVALID");
  if (status === 408 || status === 409 || status === 429 || status >= 500) {
    return { kind: "retry", reason: "refused for now", retryAfterMs: waitMs(headers, now), status };
  }
  if (says(contentFilter)) return failed("LLM_CONTENT_REFUSED");
  if (says(unknownModel)) return failed("LLM_MODEL_NOT_FOUND");
  const parameter = optionalParameters.find((name) => param === name || message.includes(name));
  if ((status === 400 || status === 422) && parameter !== undefined) return { kind: "unsupported", parameter, status };
  return failed("LLM_REQUEST_REFUSED");
}

const optionalParameters: readonly OptionalParameter[] = ["response_format", "max_tokens"];
const contextLength = /context[ _-]?(?:length|size|window)|range of input length|prompt is too long|input is too long/i;
const noCredit = /insufficient_quota|arrearage|insufficient.balance|billing_hard_limit/i;
const contentFilter = /content_filter|data_?inspection_?failed|content_policy/i;
const unknownModel = /model_not_found|model_not_supported|model.{0,100}(?:not found|not exist)|no such model/i;

function waitMs(headers: Headers | undefined, now: number): number | null {
  const milliseconds = headers?.get("retry-after-ms") ?? "";
  if (/^\d{1,10}(?:\.\d+)?$/.test(milliseconds)) return Number(milliseconds);
  return retryAfterMs(headers?.get("retry-after") ?? undefined, now);
}
