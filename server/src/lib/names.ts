/** What ends a line or is no text: a name is one line. */
const lineBreakers = /[\p{Cc}\u2028\u2029]+/gu;
/** What turns the direction of all that follows: embeddings, overrides and isolates. Source: Unicode UAX #9, section 2. */
const directionControls = /[\u202a-\u202e\u2066-\u2069]/g;
/** A character that shows something: the fillers of Hangul and what has no width are ignorable, Braille's blank is not. */
const visible = /[^\s\p{Cc}\p{Cf}\p{Cs}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/u;

/** Whether a reader sees anything of it. */
export function isVisible(text: string): boolean {
  return visible.test(text);
}

/** Whether it is one line that leaves the direction of its neighbours alone. */
export function isPlainName(text: string): boolean {
  return text.isWellFormed() && text.search(lineBreakers) < 0 && text.search(directionControls) < 0;
}

/** The name as it may stand in front of other text, in one line; null when nothing of it can be seen. */
export function plainName(text: string): string | null {
  const plain = text.toWellFormed().replaceAll(directionControls, "").replaceAll(lineBreakers, " ").trim();
  return isVisible(plain) ? plain : null;
}
