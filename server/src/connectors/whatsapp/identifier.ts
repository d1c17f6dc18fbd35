/** E.164; a number of less than 7 digits is not a person's. */
const international = /^[1-9]\d{6,14}$/;

/** The platform sends it when a person hides the number. Source: Cloud API, Business-scoped user IDs. */
const scopedUserId = /^[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}$/;

/** Separators that people use, and invisible direction marks of copied numbers. */
const separators = /[\s().\-/\u00ad\u2010-\u2015\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

export const identifierRule = "a phone number with + and its country code, such as +5511999991111";

/**
 * The country code is required: a national number could be one of another country. A trunk zero in brackets,
 * `+44 (0)20 …`, is refused: whether it belongs to the number depends on the country.
 */
export function parseIdentifier(identifier: string): string | null {
  const trimmed = identifier.trim();
  if (scopedUserId.test(trimmed)) return trimmed;
  if (/\(\s*0\s*\)/.test(trimmed)) return null;
  const digits = /^(?:\+|00)(\d+)$/.exec(trimmed.replace(separators, ""))?.[1] ?? "";
  return international.test(digits) ? `+${digits}` : null;
}

export function parsePlatformIdentifier(identifier: string): string | null {
  return parseIdentifier(/^\d/.test(identifier) ? `+${identifier}` : identifier);
}

/**
 * Other numbers of the same phone: `wa_id` keeps the spelling of the day a person joined, without digits that mobiles
 * of Brazil, Mexico and Argentina got or lost since. In Brazil 2 to 5 start landlines. Source: Cloud API, Phone numbers.
 */
export function otherSpellings(identifier: string): string[] {
  for (const [pattern, replacement] of spellings) {
    if (pattern.test(identifier)) return [identifier.replace(pattern, replacement)];
  }
  return [];
}

const spellings: readonly (readonly [RegExp, string])[] = [
  [/^\+55([1-9]\d)9([016-9]\d{7})$/, "+55$1$2"],
  [/^\+55([1-9]\d)([016-9]\d{7})$/, "+55$19$2"],
  [/^\+521(\d{10})$/, "+52$1"],
  [/^\+52([2-9]\d{9})$/, "+521$1"],
  [/^\+549(\d{10})$/, "+54$1"],
  [/^\+54([1-8]\d{9})$/, "+549$1"],
];
