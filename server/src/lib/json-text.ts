import { isUtf8 } from "node:buffer";

/** Checked before parsing: an object of 110,000 fields blocks the event loop. */
export interface JsonLimits {
  readonly maxDepth: number;
  readonly maxFields: number;
  readonly maxValues: number;
  /** Refuses bytes that are not UTF-8, and numbers that a double cannot represent. */
  readonly isExact: boolean;
  /** Paths where such numbers are refused; elsewhere they are rounded. Default: everywhere. */
  readonly isExactAt?: (path: JsonPath) => boolean;
}

export type JsonPath = readonly (string | number)[];

export class UnreadableJson extends Error {
  override readonly name = "UnreadableJson";
  readonly path: string | undefined;

  /** `problem` completes a sentence about the value at `path`. */
  constructor(problem: string, path?: string) {
    super(problem);
    this.path = path;
  }
}

const maxPathLength = 200;

/** Of the objects around the byte that is checked, by depth. Checks share it, because none waits for anything. */
const fieldsAtDepth: number[] = [];

export function parseJsonText(bytes: Buffer, limits: JsonLimits): unknown {
  checkJsonText(bytes, limits);
  try {
    return JSON.parse(bytes.toString());
  } catch {
    throw new UnreadableJson("is not valid JSON");
  }
}

/** Throws `UnreadableJson`, except for invalid JSON, which the parser finds. */
export function checkJsonText(bytes: Buffer, limits: JsonLimits): void {
  const { maxDepth, maxFields, maxValues, isExact, isExactAt = () => true } = limits;
  if (isExact && !isUtf8(bytes)) throw new UnreadableJson("is not valid UTF-8");
  const fields = fieldsAtDepth;
  fields[0] = 0;
  let depth = 0;
  let values = 0;
  let unusualNumbers = 0;
  const inexact: number[] = [];
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at]!;
    if (byte === quote) at = endOfString(bytes, at);
    else if (byte === openBrace || byte === openBracket) {
      depth += 1;
      if (depth > maxDepth) throw new UnreadableJson(`is nested more than ${maxDepth} deep`);
      fields[depth] = 0;
      values += 1;
    } else if (byte === closeBrace || byte === closeBracket) depth = Math.max(0, depth - 1);
    else if (byte === comma) values += 1;
    else if (byte === colon) {
      fields[depth]! += 1;
      if (fields[depth]! > maxFields) throw new UnreadableJson(`has an object with more than ${maxFields} fields`);
    } else if (startsNumber(byte)) {
      const start = at;
      at = endOfNumber(bytes, at);
      if (!isExact || isPlain(bytes, start, at)) continue;
      const literal = bytes.toString("latin1", start, Math.min(at + 1, start + maxNumberLength));
      if (literal === String(Number(literal))) continue;
      unusualNumbers += 1;
      if (unusualNumbers > maxUnusualNumbers) {
        throw new UnreadableJson(`has more than ${maxUnusualNumbers} numbers with an exponent or superfluous digits`);
      }
      if (!isKept(literal)) inexact.push(start);
    } else if (byte > space && !isLetter(byte)) return;
    if (values > maxValues) throw new UnreadableJson(`has more than ${maxValues} fields and elements`);
  }
  const refused = inexact.length === 0 ? null : findPath(bytes, inexact, isExactAt);
  if (refused === null) return;
  throw new UnreadableJson("is a number that cannot be kept exactly: send it as a string", shownPath(refused));
}

function isLetter(byte: number): boolean {
  return byte >= smallA && byte <= smallZ;
}

const space = 0x20;
const smallA = 0x61;
const smallZ = 0x7a;
const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const minus = 0x2d;
const plus = 0x2b;
const dot = 0x2e;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const zero = 0x30;
const nine = 0x39;
const smallE = 0x65;
const largeE = 0x45;
/** A number with at most so many digits and no exponent is exact. Source: IEEE 754. */
const plainLength = 15;
const maxNumberLength = 400;
/** Numbers in another notation than JavaScript's: each takes a microsecond to compare. */
const maxUnusualNumbers = 2_000;

/** The index of the closing quote. A string without escapes is not read byte by byte. */
function endOfString(bytes: Buffer, start: number): number {
  const end = bytes.indexOf(quote, start + 1);
  if (end < 0) return bytes.length;
  if (bytes[end - 1] !== backslash) return end;
  let at = bytes.indexOf(backslash, start + 1);
  while (at < bytes.length && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1;
  return at;
}

function startsNumber(byte: number): boolean {
  return byte === minus || (byte >= zero && byte <= nine);
}

function endOfNumber(bytes: Buffer, start: number): number {
  let at = start;
  while (at + 1 < bytes.length && isInNumber(bytes[at + 1]!)) at += 1;
  return at;
}

function isInNumber(byte: number): boolean {
  return startsNumber(byte) || byte === dot || byte === plus || byte === smallE || byte === largeE;
}

function isPlain(bytes: Buffer, start: number, end: number): boolean {
  if (end - start >= plainLength) return false;
  for (let at = start; at <= end; at += 1) if (bytes[at] === smallE || bytes[at] === largeE) return false;
  return true;
}

function isKept(literal: string): boolean {
  return literal.length < maxNumberLength && decimalOf(String(Number(literal))) === decimalOf(literal);
}

function decimalOf(literal: string): string | null {
  const match = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(literal);
  if (match === null) return null;
  const [, whole = "", fraction = "", exponent = "0"] = match;
  const digits = (whole + fraction).replace(/^0+/, "");
  const significant = digits.replace(/0+$/, "");
  return significant && `${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`;
}

function findPath(bytes: Buffer, places: readonly number[], isWanted: (path: JsonPath) => boolean): JsonPath | null {
  const steps: { index: number; name: string | null }[] = [];
  let last = "";
  let next = 0;
  for (let at = 0; next < places.length; at += 1) {
    const byte = bytes[at]!;
    const step = steps.at(-1);
    if (at === places[next]) {
      const path = steps.map(({ index, name }) => name ?? index);
      if (isWanted(path)) return path;
      next += 1;
    } else if (byte === quote) {
      const end = endOfString(bytes, at);
      last = bytes.toString("utf8", at + 1, Math.min(end, at + 1 + maxPathLength));
      at = end;
    } else if (byte === openBrace || byte === openBracket) steps.push({ index: 0, name: null });
    else if (byte === closeBrace || byte === closeBracket) steps.pop();
    else if (byte === colon && step !== undefined) step.name = unescaped(last);
    else if (byte === comma && step !== undefined) step.index += 1;
  }
  return null;
}

/** The parsed name; one that was cut or is invalid stays as it is. */
function unescaped(name: string): string {
  if (!name.includes("\\")) return name;
  try {
    return JSON.parse(`"${name}"`);
  } catch {
    return name;
  }
}

function shownPath(steps: JsonPath): string {
  const path = steps.join(".");
  return path.length > maxPathLength ? `${path.slice(0, maxPathLength)}…` : path;
}
