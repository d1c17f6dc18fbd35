export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * An escape in the output of `JSON.stringify`. One after the other is read, so that a backslash that was escaped itself
 * never begins one; a look-behind for that would take quadratic time on a text of backslashes.
 */
const escapes = /\\(?:u[0-9a-f]{4}|.)/g;
/** Written in place of U+0000 and of half a surrogate pair, which PostgreSQL's `jsonb` cannot store. */
const unstorable = /^\\u(?:0000|d[89a-f])/;

/** Whether PostgreSQL can hold this output of `JSON.stringify`. */
export function isStorable(json: string): boolean {
  if (!json.includes("\\u")) return true;
  for (const [found] of json.matchAll(escapes)) if (unstorable.test(found)) return false;
  return true;
}

/** The same JSON with U+FFFD for what PostgreSQL cannot hold. */
export function toStorable(json: string): string {
  if (!json.includes("\\u")) return json;
  return json.replace(escapes, (found) => (unstorable.test(found) ? "\\ufffd" : found));
}

/** Levels of nesting that a document of a user may have. */
export const maxDepth = 20;

/**
 * JSON with the fields of every object sorted by name; null when it has more levels than `depth`. The value comes from
 * JSON, so it has no cycles and no functions. Fields that are undefined are left out.
 */
export function canonicalJson(value: unknown, depth = maxDepth): string | null {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (depth === 0) return null;
  const isList = Array.isArray(value);
  const inside = isList
    ? value.map((item) => canonicalJson(item, depth - 1))
    : Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, item]) => {
          const json = canonicalJson(item, depth - 1);
          return json === null ? null : `${JSON.stringify(name)}:${json}`;
        });
  if (inside.includes(null)) return null;
  return isList ? `[${inside.join(",")}]` : `{${inside.join(",")}}`;
}
