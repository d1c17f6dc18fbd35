export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Matched one after the other: a look-behind takes quadratic time on a text of backslashes. */
const escapes = /\\(?:u[0-9a-f]{4}|.)/g;
/** Written in place of U+0000 and of half a surrogate pair, which PostgreSQL's `jsonb` cannot store. */
const unstorable = /^\\u(?:0000|d[89a-f])/;

export function isStorable(json: string): boolean {
  if (!json.includes("\\u")) return true;
  for (const [found] of json.matchAll(escapes)) if (unstorable.test(found)) return false;
  return true;
}

export function toStorable(json: string): string {
  if (!json.includes("\\u")) return json;
  return json.replace(escapes, (found) => (unstorable.test(found) ? "\\ufffd" : found));
}

export const maxDepth = 20;

/** Fields sorted by name, without undefined ones; null with more levels than `depth`. The value has no cycles. */
export function canonicalJson(value: unknown, depth = maxDepth): string | null {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (depth === 0) return null;
  let inside = "";
  if (Array.isArray(value)) {
    for (const item of value) {
      const json = canonicalJson(item, depth - 1);
      if (json === null) return null;
      inside += inside === "" ? json : `,${json}`;
    }
    return `[${inside}]`;
  }
  const fields = value as Record<string, unknown>;
  for (const name of sortedNames(fields)) {
    if (fields[name] === undefined) continue;
    const json = canonicalJson(fields[name], depth - 1);
    if (json === null) return null;
    inside += `${inside === "" ? "" : ","}${JSON.stringify(name)}:${json}`;
  }
  return `{${inside}}`;
}

/** `sort` makes a list of its own, and most objects have few fields. */
function sortedNames(fields: object): string[] {
  const names = Object.keys(fields);
  if (names.length > fewNames) return names.sort();
  for (let end = 1; end < names.length; end += 1) {
    const name = names[end]!;
    let at = end;
    for (; at > 0 && names[at - 1]! > name; at -= 1) names[at] = names[at - 1]!;
    names[at] = name;
  }
  return names;
}

const fewNames = 8;
