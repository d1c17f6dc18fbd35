const lineBreakers = /[\p{Cc}\u2028\u2029]+/gu;
/** Characters that change the direction of the text after them. Source: Unicode UAX #9, section 2. */
const directionControls = /[\u202a-\u202e\u2066-\u2069]/g;
/** A visible character. Hangul fillers and zero-width characters are ignorable; Braille's blank and the null notehead must be named. */
const visible = /[^\s\p{Cc}\p{Cf}\p{Cs}\p{Z}\p{Default_Ignorable_Code_Point}\u2800\u{1d159}]/u;

export function isVisible(text: string): boolean {
  return visible.test(text);
}

export function isPlainName(text: string): boolean {
  return text.isWellFormed() && text.search(lineBreakers) < 0 && text.search(directionControls) < 0;
}

/** The name, safe to put in front of other text, in one line; null when it has no visible character. */
export function plainName(text: string): string | null {
  const plain = text.toWellFormed().replaceAll(directionControls, "").replaceAll(lineBreakers, " ").trim();
  return isVisible(plain) ? plain : null;
}
