import type { PipelineDb } from "../database-roles.ts";
import { doubledMs } from "../lib/backoff.ts";
import { type Clock, pause, type Random } from "../lib/clock.ts";
import type { HttpClient } from "../lib/http.ts";
import type { Log } from "../lib/postgres.ts";
import type { RateLimit, RateLimits } from "../lib/rate-limits/rate-limits.ts";
import type { Secret } from "../lib/secret.ts";
import { type ChatOutcome, type ChatRequest, type OptionalParameter, openChatEndpoint } from "./chat-endpoint.ts";
import { estimateTokens } from "./estimate-tokens.ts";
import { countOwnTokens, dayOf, nextDay, reserveTokens, settleTokens, type UsageDay, usedTokens } from "./llm-usage.ts";
import type { ChatMessage } from "./prompts.ts";
import { SummaryError, type SummaryErrorCode } from "./summary-error.ts";

export interface LlmConfig {
  baseUrl: string;
  /** `null`: only users with a key of their own are identified; others ask without a credential. */
  apiKey: Secret | null;
  model: string;
  contextTokens: number;
  timeoutMs: number;
  /** Of one user; `null`: no limit. */
  requestLimit: RateLimit | null;
  /** Of one user with the hub's key; `null`: no limit. */
  tokensPerDay: number | null;
}

export interface LanguageModelDeps {
  config: LlmConfig;
  http: HttpClient;
  db: PipelineDb;
  limits: RateLimits;
  clock: Clock;
  random: Random;
  log: Log;
}

/** Who asks, with which key and which model. */
export interface Asker {
  workspaceId: string;
  userId: string;
  /** The user's own key; null: the hub's. It is sent nowhere but to LLM_BASE_URL. */
  ownKey: string | null;
  /** Null: LLM_MODEL. */
  model: string | null;
}

export interface Tokens {
  input: number;
  output: number;
  /** Whether the endpoint did not say how many they are for at least one request. */
  isEstimated: boolean;
}

export interface Reply {
  content: string;
  /** Whether it is longer than `maxTokens`, so that its end is missing. */
  isCut: boolean;
}

export class ContextLengthError extends Error {
  override readonly name = "ContextLengthError";
}

/** The language model as one user may use it, with the bounds of one summary. */
export interface UserModel {
  readonly name: string;
  readonly contextTokens: number;
  /** Of all requests so far. */
  readonly tokens: Tokens;
  /** Throws LLM_BUDGET_EXCEEDED when so many tokens are not left today. */
  requireTokens(count: number): Promise<void>;
  /**
   * Waits for its turn, and tries again while the endpoint is overloaded. Throws a `ContextLengthError`, a
   * `SummaryError`, or the reason of the signal.
   */
  ask(messages: readonly ChatMessage[], maxTokens: number, signal: AbortSignal): Promise<Reply>;
}

export interface LanguageModel {
  for(asker: Asker): UserModel;
}

const maxAttempts = 4;
const backoff = { firstMs: 1_000, longestMs: 20_000 };
/** A longer wait is an error that says how long it is. */
const maxWaitMs = 60_000;
/** Of all requests of one summary, retries included. */
const maxRequests = 200;

export function openLanguageModel(deps: LanguageModelDeps): LanguageModel {
  const { config, http, clock } = deps;
  const endpoint = openChatEndpoint({ baseUrl: config.baseUrl, timeoutMs: config.timeoutMs, http, clock });
  /** By model: what it has refused to understand. */
  const unsupported = new Map<string, ReadonlySet<OptionalParameter>>();
  return {
    for: (asker) => new AskedModel(deps, { chat: endpoint.chat, unsupported }, asker),
  };
}

interface Shared {
  chat: (request: ChatRequest) => Promise<ChatOutcome>;
  unsupported: Map<string, ReadonlySet<OptionalParameter>>;
}

const maxKnownModels = 1_000;

class AskedModel implements UserModel {
  readonly name: string;
  readonly contextTokens: number;
  readonly tokens: Tokens = { input: 0, output: 0, isEstimated: false };
  readonly #deps: LanguageModelDeps;
  readonly #shared: Shared;
  readonly #asker: Asker;
  #requestsLeft = maxRequests;

  constructor(deps: LanguageModelDeps, shared: Shared, asker: Asker) {
    this.name = asker.model ?? deps.config.model;
    this.contextTokens = deps.config.contextTokens;
    this.#deps = deps;
    this.#shared = shared;
    this.#asker = asker;
  }

  async requireTokens(count: number): Promise<void> {
    const { config, db } = this.#deps;
    if (this.#asker.ownKey !== null || config.tokensPerDay === null) return;
    const used = await usedTokens(db, this.#today());
    if (used + count > config.tokensPerDay) throw this.#overBudget(count);
  }

  async ask(messages: readonly ChatMessage[], maxTokens: number, signal: AbortSignal): Promise<Reply> {
    for (let failures = 0; ; ) {
      const outcome = await this.#request(messages, maxTokens, signal);
      switch (outcome.kind) {
        case "completed":
          return { content: outcome.content, isCut: outcome.isCut };
        case "too_long":
          throw new ContextLengthError("The request is longer than the context of the model.");
        case "failed":
          throw new SummaryError(outcome.code, this.#explain(outcome.code));
        case "unsupported":
          if (this.#without().has(outcome.parameter)) {
            throw new SummaryError("LLM_REQUEST_REFUSED", this.#explain("LLM_REQUEST_REFUSED"));
          }
          this.#learn(outcome.parameter);
          break;
        case "retry": {
          failures += 1;
          const waitMs = outcome.retryAfterMs ?? this.#jittered(doubledMs(backoff, failures));
          if (failures === maxAttempts || waitMs > maxWaitMs) throw this.#unavailable(outcome.retryAfterMs);
          await pause(this.#deps.clock, waitMs, signal);
          signal.throwIfAborted();
        }
      }
    }
  }

  async #request(messages: readonly ChatMessage[], maxTokens: number, signal: AbortSignal): Promise<ChatOutcome> {
    const { clock, log, config, db } = this.#deps;
    if (this.#requestsLeft === 0) throw new SummaryError("LLM_UNAVAILABLE", this.#explain("LLM_UNAVAILABLE"));
    this.#requestsLeft -= 1;
    await this.#waitForTurn(signal);
    const estimated = estimateTokens(messages.map(({ content }) => content).join("\n"));
    const reserved = estimated + maxTokens;
    const { ownKey } = this.#asker;
    const day = this.#today();
    if (ownKey === null && !(await reserveTokens(db, day, reserved, config.tokensPerDay)))
      throw this.#overBudget(reserved);
    const startedAt = clock.elapsed();
    let used = reserved;
    try {
      const apiKey = ownKey ?? config.apiKey?.reveal() ?? null;
      const outcome = await this.#shared.chat({
        ...{ apiKey, model: this.name, messages, maxTokens, signal },
        without: this.#without(),
      });
      used = this.#count(outcome, estimated);
      const { kind, status } = outcome;
      const durationMs = Math.round(clock.elapsed() - startedAt);
      log.info(
        { model: this.name, outcome: kind, status, duration_ms: durationMs, tokens: used },
        "language model: asked",
      );
      return outcome;
    } finally {
      if (ownKey === null) await settleTokens(db, day, reserved, used);
      else await countOwnTokens(db, day, used);
    }
  }

  /** What a request has used: nothing if it was refused; its text, as estimated, if the response was lost. */
  #count(outcome: ChatOutcome, estimatedInput: number): number {
    if (outcome.kind === "retry" && outcome.status === null) return estimatedInput;
    if (outcome.kind !== "completed") return 0;
    const { input, output } = outcome.tokens ?? { input: estimatedInput, output: estimateTokens(outcome.content) };
    this.tokens.input += input;
    this.tokens.output += output;
    this.tokens.isEstimated ||= outcome.tokens === null;
    return input + output;
  }

  async #waitForTurn(signal: AbortSignal): Promise<void> {
    const { limits, config, clock } = this.#deps;
    if (config.requestLimit === null) return;
    for (;;) {
      signal.throwIfAborted();
      const taken = await limits.take(`llm:${this.#asker.userId}`, config.requestLimit);
      if (taken.isAllowed) return;
      const waitMs = taken.retryAfterSeconds * 1_000;
      if (waitMs > maxWaitMs) {
        const freeAt = new Date(clock.now() + waitMs).toISOString();
        const message = `You have used up your requests to the language model (LLM_RATE_LIMIT). Try again after ${freeAt}.`;
        throw new SummaryError("LLM_BUDGET_EXCEEDED", message, { retryAfterMs: waitMs });
      }
      await pause(clock, waitMs, signal);
    }
  }

  #today(): UsageDay {
    const { workspaceId, userId } = this.#asker;
    return { workspaceId, userId, day: dayOf(this.#deps.clock.now()) };
  }

  #overBudget(count: number): SummaryError {
    const { clock, config } = this.#deps;
    const limit = config.tokensPerDay!;
    const now = clock.now();
    if (count > limit) {
      const message = `The document needs about ${count} tokens of the language model, and you may use ${limit} a day (LLM_TOKENS_PER_DAY).`;
      return new SummaryError("LLM_BUDGET_EXCEEDED", message);
    }
    const freeAt = nextDay(now);
    const message = `You have too few tokens of the language model left today (LLM_TOKENS_PER_DAY). Try again after ${new Date(freeAt).toISOString()}.`;
    return new SummaryError("LLM_BUDGET_EXCEEDED", message, { retryAfterMs: freeAt - now });
  }

  #unavailable(retryAfterMs: number | null): SummaryError {
    return new SummaryError(
      "LLM_UNAVAILABLE",
      this.#explain("LLM_UNAVAILABLE"),
      retryAfterMs === null ? {} : { retryAfterMs },
    );
  }

  #explain(code: SummaryErrorCode): string {
    if (code === "API_KEY_INVALID") {
      return this.#asker.ownKey === null
        ? "The language model refuses the hub's key. Ask the operator to check LLM_API_KEY, or set a key of your own."
        : "The language model refuses your own key. Set another one with PATCH /v1/me, or null to use the hub's.";
    }
    if (code === "LLM_QUOTA_EXCEEDED") {
      const whose = this.#asker.ownKey === null ? "the hub's key" : "your own key";
      return `The account of ${whose} has no credit left at the language model.`;
    }
    return messages[code] ?? "The text cannot be summarized.";
  }

  #without(): ReadonlySet<OptionalParameter> {
    return this.#shared.unsupported.get(this.name) ?? new Set();
  }

  #learn(parameter: OptionalParameter): void {
    const { unsupported } = this.#shared;
    if (unsupported.size >= maxKnownModels) unsupported.clear();
    unsupported.set(this.name, new Set([...this.#without(), parameter]));
  }

  #jittered(delayMs: number): number {
    return delayMs * (0.5 + this.#deps.random() / 2);
  }
}

const messages: Partial<Record<SummaryErrorCode, string>> = {
  LLM_MODEL_NOT_FOUND: "The language model does not exist at the endpoint. Choose another model.",
  LLM_CONTENT_REFUSED: "The language model refuses to summarize this document because of its content.",
  LLM_REQUEST_REFUSED:
    "The endpoint of the language model refuses the request. Ask the operator to check LLM_BASE_URL and LLM_MODEL.",
  LLM_UNAVAILABLE: "The language model did not respond, or is overloaded. Try again later.",
};
