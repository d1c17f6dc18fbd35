import { randomInt } from "node:crypto";

/** Four groups that can be read aloud, such as `tikab-…`: 70 random bits, 23 characters. */
export function readablePassword(): string {
  return Array.from({ length: 4 }, () => [..."cvcvc"].map((kind) => pick(letters[kind as "c" | "v"])).join("")).join(
    "-",
  );
}

const letters = { c: "bcdfghjkmnpqrstvwxyz", v: "aeiou" };

function pick(from: string): string {
  return from[randomInt(from.length)]!;
}
