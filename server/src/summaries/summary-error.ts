/** The only list of reasons for which a text cannot be summarized. */
export const summaryErrorCodes = [
  /** There is nothing to summarize. */
  "DOCUMENT_EMPTY",
  "DOCUMENT_TOO_LARGE",
  /** The language model refuses the key: the user's own, or the hub's. */
  "API_KEY_INVALID",
  "LLM_MODEL_NOT_FOUND",
  /** The account behind the key has no credit left. */
  "LLM_QUOTA_EXCEEDED",
  /** The user has used up LLM_TOKENS_PER_DAY. */
  "LLM_BUDGET_EXCEEDED",
  /** The language model refuses the content. */
  "LLM_CONTENT_REFUSED",
  /** It responded twice with something else than was asked for. */
  "LLM_RESPONSE_INVALID",
  /** It does not take the request at all: LLM_BASE_URL is wrong, or the model does not chat. */
  "LLM_REQUEST_REFUSED",
  /** It did not respond, or was overloaded, at every attempt. It may work later. */
  "LLM_UNAVAILABLE",
] as const;

export type SummaryErrorCode = (typeof summaryErrorCodes)[number];

/**
 * `message` is public: one sentence that says what is wrong and what to do. It quotes neither the document nor the
 * language model.
 */
export class SummaryError extends Error {
  override readonly name = "SummaryError";
  readonly code: SummaryErrorCode;
  /** When the same may work again, if that is known; in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(code: SummaryErrorCode, message: string, options: { cause?: unknown; retryAfterMs?: number } = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
  }
}
