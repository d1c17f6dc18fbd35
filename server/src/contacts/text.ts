import { invalid } from "../errors.ts";

/** Longest display name or title, in characters as JSON Schema counts them (code points). */
export const maxNameLength = 200;
/** Largest `metadata` of a contact, in bytes of JSON. */
export const maxMetadataBytes = 16 * 1024;
/** How deep objects and arrays may lie inside one another in `metadata`. */
export const maxMetadataDepth = 20;

export type Metadata = Record<string, unknown>;

/** The name as given. Throws VALIDATION_ERROR when nothing of it can be seen, or when it cannot be stored. */
export function requireName(name: string, field: string): string {
  if (!name.trim()) throw invalid(`${field} must not be blank.`, { field });
  requireStorable(name, field);
  return name;
}

/** What a platform calls a person, cut to what is stored; null when nothing can be seen of it. */
export function cutName(name: string | null): string | null {
  const shown = (name ?? "").toWellFormed().replaceAll("\0", "").trim();
  return shown ? [...shown].slice(0, maxNameLength).join("").trim() : null;
}

/** `metadata` with the changes on it: a key with null is taken away, the others are set, the rest stays. */
export function mergeMetadata(metadata: Metadata, changes: Metadata | null): Metadata {
  if (changes === null) return {};
  for (const [key, value] of Object.entries(changes)) requireStorable({ [key]: value }, "metadata");
  const kept = Object.entries({ ...metadata, ...changes }).filter(([, value]) => value !== null);
  const merged = Object.fromEntries(kept);
  if (Buffer.byteLength(JSON.stringify(merged)) > maxMetadataBytes) {
    throw invalid("metadata is larger than 16 KB of JSON.", { field: "metadata" });
  }
  return merged;
}

/** PostgreSQL keeps neither U+0000 nor half of a surrogate pair. */
function requireStorable(value: unknown, field: string, depth = 0): void {
  if (typeof value === "string") {
    if (value.includes("\0") || !value.isWellFormed()) {
      throw invalid(`${field} holds U+0000 or half of a surrogate pair, which cannot be stored.`, { field });
    }
  } else if (typeof value === "object" && value !== null) {
    if (depth > maxMetadataDepth) throw invalid(`${field} is nested more than ${maxMetadataDepth} deep.`, { field });
    for (const [key, inside] of Object.entries(value)) {
      requireStorable(key, field, depth);
      requireStorable(inside, field, depth + 1);
    }
  }
}
