import { timingSafeEqual } from "node:crypto";

/** In a time that depends on the lengths only. A missing text equals nothing. */
export function isSameSecret(given: string | undefined, expected: string): boolean {
  if (given === undefined || expected === "") return false;
  const left = Buffer.from(given);
  const right = Buffer.from(expected);
  return left.length === right.length && timingSafeEqual(left, right);
}
