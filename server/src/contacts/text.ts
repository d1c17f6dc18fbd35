import { invalid } from "../errors.ts";
import { findExcess, metadataLimits } from "../lib/free-form.ts";
import { isStorable } from "../lib/json.ts";

/** Longest display name or title, in characters as JSON Schema counts them (code points). */
export const maxNameLength = 200;

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
  const merged = Object.fromEntries(Object.entries({ ...metadata, ...changes }).filter(([, value]) => value !== null));
  const excess = findExcess(merged, metadataLimits);
  if (excess !== null) throw invalid(`metadata ${excess}.`, { field: "metadata" });
  const json = JSON.stringify(merged);
  if (Buffer.byteLength(json) > metadataLimits.maxBytes) {
    throw invalid(`metadata is longer than ${metadataLimits.maxBytes} bytes of JSON.`, { field: "metadata" });
  }
  if (!isStorable(json)) {
    throw invalid("metadata must have neither U+0000 nor half of a surrogate pair.", { field: "metadata" });
  }
  return merged;
}
