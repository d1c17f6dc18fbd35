import { hidden, Secret } from "./secret.ts";
import { StartError } from "./start-error.ts";
import { durationUnits, formatDuration, nearestKey, parseDuration } from "./env-values.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** One environment variable as a person reads it. `current` and `fallback` never hold a secret. */
export type EnvKey = { key: string; meaning: string; default: string; current: string };

/** Everything that is wrong with the environment, one line each; the message is the whole list. */
export class ConfigError extends StartError {
  override name = "ConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The configuration cannot be used:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
    this.problems = problems;
  }
}

export type EnvReader = ReturnType<typeof envReader>;

/**
 * Reads variables by kind and remembers each key with its meaning. A wrong value is noted, its default is returned in
 * its place, and `finish` throws one `ConfigError` for all of them: nothing read before `finish` may be acted upon.
 * An empty value counts as unset.
 */
export function envReader(env: Env) {
  const keys: EnvKey[] = [];
  const problems: string[] = [];

  function read<T>(key: string, meaning: string, kind: Kind<T>): T | undefined {
    const text = env[key] || undefined;
    let value: T | undefined;
    if (text !== undefined) {
      value = kind.parse(text);
      if (value === undefined) problems.push(`${key} is ${kind.isSecret ? "malformed" : quote(text)}: it must be ${kind.must}.`);
    }
    const current = value === undefined ? kind.default : kind.isSecret ? hidden : kind.print(value);
    keys.push({ key, meaning, default: kind.default, current });
    return value;
  }

  return {
    keys: keys as readonly EnvKey[],

    /** Notes something wrong that no single value shows, such as two values that exclude each other. */
    problem(sentence: string): void {
      problems.push(sentence);
    },

    integer(key: string, fallback: number, range: { min: number; max: number }, meaning: string): number {
      const must = `a whole number from ${range.min} to ${range.max}`;
      const parse = (text: string) => within(/^\d{1,15}$/.test(text) ? Number(text) : undefined, range);
      return read(key, meaning, { parse, must, print: String, default: String(fallback) }) ?? fallback;
    },

    duration(key: string, fallback: string, range: { min: string; max: string }, meaning: string): number {
      const bounds = { min: parseDuration(range.min)!, max: parseDuration(range.max)! };
      const must = `a duration from ${range.min} to ${range.max}, such as ${fallback} (units: ${durationUnits})`;
      const parse = (text: string) => within(parseDuration(text), bounds);
      return read(key, meaning, { parse, must, print: formatDuration, default: fallback }) ?? parseDuration(fallback)!;
    },

    choice<const T extends string>(key: string, fallback: T, choices: readonly T[], meaning: string): T {
      const parse = (text: string) => choices.find((choice) => choice === text);
      return read(key, meaning, { parse, must: choices.join(" or "), print: String, default: fallback }) ?? fallback;
    },

    text(key: string, fallback: string, meaning: string, shape: Shape = anyText): string {
      return read(key, meaning, { ...shape, print: String, default: fallback }) ?? fallback;
    },

    /** `fallback` is what is used when the variable is unset; `shown` is how the help names it. */
    list<T extends string>(key: string, fallback: readonly T[], shown: string, item: Shape<T>, meaning: string): T[] {
      const parse = (text: string) => {
        const items = text.split(",").map((part) => item.parse(part.trim()));
        return items.every((part) => part !== undefined) ? [...new Set(items)] : undefined;
      };
      const must = `a list, separated by commas, of ${item.must}`;
      return read(key, meaning, { parse, must, print: (items) => items.join(","), default: shown }) ?? [...fallback];
    },

    secret<T>(key: string, shown: string, shape: Shape<T>, meaning: string): Secret<T> | null {
      const value = read(key, meaning, { ...shape, print: () => hidden, default: shown, isSecret: true });
      return value === undefined ? null : new Secret(value);
    },

    /** An address that may hold a password: kept as a secret, shown with the password hidden. */
    secretUrl(key: string, shown: string, protocols: readonly string[], meaning: string): Secret | null {
      const parse = (text: string) => (hasProtocol(text, protocols) ? text : undefined);
      const must = `an address that begins with ${protocols.map((protocol) => `${protocol}//`).join(" or ")}`;
      const value = read(key, meaning, { parse, must, print: withoutPassword, default: shown, isSecret: "partly" });
      return value === undefined ? null : new Secret(value);
    },
  };
}
