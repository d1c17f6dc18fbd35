/** The only list of reasons for which a text cannot be summarized. */
export const summaryErrorCodes = [
  /** There is nothing to summarize. */
  "DOCUMENT_EMPTY",
  "DOCUMENT_TOO_LARGE",
] as const;

export type SummaryErrorCode = (typeof summaryErrorCodes)[number];

/** `message` is public: one sentence that says what is wrong and what to do. It quotes nothing of the document. */
export class SummaryError extends Error {
  override readonly name = "SummaryError";
  readonly code: SummaryErrorCode;

  constructor(code: SummaryErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
