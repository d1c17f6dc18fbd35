import { invalid } from "../errors.ts";
import { isStorable } from "../lib/json.ts";

/** Longest display name or title, in characters as JSON Schema counts them (code points). */
export const maxNameLength = 200;
/** Largest `metadata` of a contact, in bytes of JSON. */
export const maxMetadataBytes = 16 * 1024;
/** How deep objects and arrays may lie inside one another in `metadata`. */
export const maxMetadataDepth = 20;

export type Metadata = Record<string, unknown>;

const controlCharacters = /\p{Cc}+/gu;

/** The name as given. Throws VALIDATION_ERROR when nothing of it can be seen, or when it is not one line of text. */
export function requireName(name: string, field: string): string {
  if (!name.trim()) throw invalid(`${field} must not be blank.`, { field });
  if (name.search(controlCharacters) >= 0 || !name.isWellFormed()) {
    throw invalid(`${field} must have neither control characters nor half of a surrogate pair.`, { field });
  }
  return name;
}

/** What a platform calls a person, cut to what is stored; null when nothing can be seen of it. */
export function cutName(name: string | null): string | null {
  const shown = (name ?? "").toWellFormed().replaceAll(controlCharacters, " ").trim();
  return shown ? [...shown].slice(0, maxNameLength).join("").trim() : null;
}

/** `metadata` with the changes on it: a key with null is taken away, the others are set, the rest stays. */
export function mergeMetadata(metadata: Metadata, changes: Metadata | null): Metadata {
  if (changes === null) return {};
  if (isDeeperThan(changes, maxMetadataDepth)) {
    throw invalid(`metadata is nested more than ${maxMetadataDepth} deep.`, { field: "metadata" });
  }
  const merged = Object.fromEntries(Object.entries({ ...metadata, ...changes }).filter(([, value]) => value !== null));
  const json = JSON.stringify(merged);
  if (Buffer.byteLength(json) > maxMetadataBytes) {
    throw invalid("metadata is larger than 16 KB of JSON.", { field: "metadata" });
  }
  if (!isStorable(json)) {
    throw invalid("metadata must have neither U+0000 nor half of a surrogate pair.", { field: "metadata" });
  }
  return merged;
}

function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inside) => isDeeperThan(inside, levels - 1));
}
