/** The only list of reasons for which no text can be extracted from a document. */
export const documentErrorCodes = [
  "DOCUMENT_TYPE_UNSUPPORTED",
  "DOCUMENT_ENCRYPTED",
  "DOCUMENT_CORRUPT",
  "DOCUMENT_TOO_LARGE",
  "DOCUMENT_TIMEOUT",
] as const;

export type DocumentErrorCode = (typeof documentErrorCodes)[number];

/** `message` is public: one sentence that says what is wrong with the document. It quotes nothing of its content. */
export class DocumentError extends Error {
  override readonly name = "DocumentError";
  readonly code: DocumentErrorCode;

  constructor(code: DocumentErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
