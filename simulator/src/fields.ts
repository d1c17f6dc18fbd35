import { invalid } from "./problem.ts";

/** Turns an unknown value into a `T`, or throws a `Problem` (400) that names the field at `path`. */
export type Reader<T> = (value: unknown, path: string) => T;

type Shape = Record<string, Reader<unknown>>;
type Read<S extends Shape> = { [K in keyof S]: ReturnType<S[K]> };

/** An object with exactly these fields: an unknown one is refused, so that a typo never passes. */
export function object<S extends Shape>(shape: S): Reader<Read<S>> {
  return (value, path) => {
    if (!isRecord(value)) throw invalid(`${path} must be a JSON object`);
    const unknown = Object.keys(value).find((key) => !Object.hasOwn(shape, key));
    if (unknown !== undefined) {
      throw invalid(`${path} has the unknown field "${unknown}"; known are: ${Object.keys(shape).join(", ")}`);
    }
    const result: Record<string, unknown> = {};
    for (const [key, read] of Object.entries(shape)) {
      const field = read(value[key], path === "body" ? key : `${path}.${key}`);
      if (field !== undefined) result[key] = field;
    }
    return result as Read<S>;
  };
}

export function optional<T>(read: Reader<T>): Reader<T | undefined> {
  return (value, path) => (value === undefined ? undefined : read(value, path));
}

/** A string of `min` to `max` UTF-16 units that matches `pattern`; `hint` says what would be right. */
export function string(rule: { min?: number; max?: number; pattern?: RegExp; hint?: string } = {}): Reader<string> {
  const { min = 1, max = 65_536, pattern, hint = `a string of ${min} to ${max} characters` } = rule;
  return (value, path) => {
    const fits = typeof value === "string" && value.length >= min && value.length <= max;
    if (!fits || (pattern && !pattern.test(value))) throw invalid(`${path} must be ${hint}`);
    return value;
  };
}

export function number(min: number, max: number): Reader<number> {
  return (value, path) => {
    if (typeof value !== "number" || !(value >= min && value <= max)) {
      throw invalid(`${path} must be a number from ${min} to ${max}`);
    }
    return value;
  };
}

export function integer(min: number, max: number): Reader<number> {
  return (value, path) => {
    if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
      throw invalid(`${path} must be a whole number from ${min} to ${max}`);
    }
    return value as number;
  };
}

export function integerText(min: number, max: number): Reader<number> {
  const read = integer(min, max);
  return (value, path) => read(typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : value, path);
}

export const boolean: Reader<boolean> = (value, path) => {
  if (typeof value !== "boolean") throw invalid(`${path} must be true or false`);
  return value;
};

export function oneOf<const T extends string | boolean>(values: readonly T[]): Reader<T> {
  return (value, path) => {
    if (!values.includes(value as T)) throw invalid(`${path} must be one of ${values.join(", ")}`);
    return value as T;
  };
}

export function list<T>(read: Reader<T>, max: number): Reader<T[]> {
  return (value, path) => {
    if (!Array.isArray(value) || value.length > max) throw invalid(`${path} must be a list of at most ${max} items`);
    return value.map((item, index) => read(item, `${path}[${index}]`));
  };
}

export const url: Reader<string> = (value, path) => {
  if (typeof value !== "string" || !/^https?:\/\//.test(value) || !URL.canParse(value)) {
    throw invalid(`${path} must be an http or https URL`);
  }
  return value;
};

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
