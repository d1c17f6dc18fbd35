import { maxNameLength, metadataLimits } from "../../../contract/src/people.ts";
import { invalid } from "../errors.ts";
import { findExcess } from "../lib/free-form.ts";
import { isStorable } from "../lib/json.ts";
import { isPlainName, isVisible, plainName } from "../lib/names.ts";

export type Metadata = Record<string, unknown>;

/** The name as given. Throws VALIDATION_ERROR when nothing of it can be seen, or when it is not one line of text. */
export function requireName(name: string, field: string): string {
  if (!isVisible(name)) throw invalid(`${field} must not be blank.`, { field });
  if (isPlainName(name)) return name;
  throw invalid(
    `${field} must be one line without control characters, marks that change the direction of text, and unpaired surrogates.`,
    { field },
  );
}

/** What a platform calls a person, cut to what is stored; null when nothing can be seen of it. */
export function cutName(name: string | null): string | null {
  const shown = plainName(name ?? "");
  return shown && plainName([...shown].slice(0, maxNameLength).join(""));
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
