import { timingSafeEqual } from "node:crypto";

/** Whether two texts are the same, in a time that depends on their lengths only. A missing one equals nothing. */
export function isSameSecret(given: string | undefined, expected: string): boolean {
  if (given === undefined || expected === "") return false;
  const left = Buffer.from(given);
  const right = Buffer.from(expected);
  return left.length === right.length && timingSafeEqual(left, right);
}
