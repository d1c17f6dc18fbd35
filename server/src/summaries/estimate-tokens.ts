/**
 * How many tokens a text has at most, for ordinary text: a token of today's models has about four bytes of English, and
 * three of most other languages.
 */
export function estimateTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / bytesPerToken);
}

export const bytesPerToken = 3;
