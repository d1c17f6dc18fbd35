import { maxNameLength, metadataLimits } from "../../../contract/src/people.ts";
import { invalid } from "../errors.ts";
import { findExcess } from "../lib/free-form.ts";
import { isStorable } from "../lib/json.ts";
import { isPlainName, isVisible, plainName } from "../lib/names.ts";

export type Metadata = Record<string, unknown>;

/** Throws VALIDATION_ERROR when nothing of the name is visible, or when it is not one line of text. */
export function requireName(name: string, field: string): string {
  if (!isVisible(name)) throw invalid(`${field} must not be blank.`, { field });
  if (isPlainName(name)) return name;
  throw invalid(
    `${field} must be one line without control characters, marks that change the direction of text, or unpaired surrogates.`,
    { field },
  );
}

/** The name that a platform gives a person, cut to the stored length; null when nothing of it is visible. */
export function cutName(name: string | null): string | null {
  const shown = plainName(name ?? "");
  return shown && plainName([...shown].slice(0, maxNameLength).join(""));
}

/** Null removes a key, other values replace it; throws VALIDATION_ERROR beyond `metadataLimits`. */
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
    throw invalid("metadata must not contain U+0000 or half of a surrogate pair.", { field: "metadata" });
  }
  return merged;
}
