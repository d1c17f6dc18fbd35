import { detectAll } from "tinyld/light";

/** The ISO 639-1 code of the language of a text, or null when it cannot be said. */
export function languageOf(sample: string): string | null {
  if (sample.replaceAll(/[^\p{L}]/gu, "").length < leastLetters) return null;
  const best = detectAll(sample)[0];
  return best !== undefined && best.accuracy >= leastAccuracy ? best.lang : null;
}

const leastLetters = 20;
/** From 0 to 1. */
const leastAccuracy = 0.05;
