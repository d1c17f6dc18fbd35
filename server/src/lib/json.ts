/**
 * What `JSON.stringify` writes for U+0000 and for half of a surrogate pair: PostgreSQL's `jsonb` stores neither. (Whole
 * pairs and other letters are never escaped by it; the look-behind skips an escaped backslash before a plain `u0000`.)
 */
const unstorable = /(?<=(?<!\\)(?:\\\\)*)\\u(?:0000|d[89a-f][0-9a-f]{2})/;
const everyUnstorable = new RegExp(unstorable, "g");

/** Whether PostgreSQL can hold this output of `JSON.stringify`. */
export function isStorable(json: string): boolean {
  return !unstorable.test(json);
}

/** The same JSON with U+FFFD for what PostgreSQL cannot hold. */
export function toStorable(json: string): string {
  return json.replace(everyUnstorable, "\\ufffd");
}
