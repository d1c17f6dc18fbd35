import { type EnvKind, isHidden } from "./env-kinds.ts";
import { hidden } from "./secret.ts";
import { StartError } from "./start-error.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** One variable as a person reads it. `default` and `current` never show a secret. */
export type EnvRow = {
  key: string;
  meaning: string;
  default: string;
  current: string;
  /** It has no value, and no default that is one: `current` says what happens then. */
  isAbsent: boolean;
};

/** Everything that is wrong with the environment, one line for each; the message is the whole list. */
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
 * Reads variables by kind and remembers each with its meaning. A value of the wrong shape is noted and its default
 * returned in its place, so nothing that was read may be acted upon before `finish`, which throws one `ConfigError`
 * for all that was noted. An empty value counts as unset.
 */
export function envReader(env: Env) {
  const rows: EnvRow[] = [];
  const problems: string[] = [];

  function parse<T>(
    key: string,
    kind: EnvKind<T>,
    { shownDefault, meaning, isOptional }: { shownDefault: string; meaning: string; isOptional: boolean },
  ): T | undefined {
    const text = env[key] || undefined;
    const value = text === undefined ? undefined : kind.parse(text);
    if (text !== undefined && value === undefined) {
      problems.push(`${key} is ${isHidden(kind) ? "malformed" : JSON.stringify(text)}: give ${kind.must}.`);
    }
    const current = value === undefined ? shownDefault : (kind.print?.(value) ?? text ?? hidden);
    rows.push({ key, meaning, default: shownDefault, current, isAbsent: isOptional && value === undefined });
    return value;
  }

  return {
    /** What was read, in the order of reading. */
    rows: rows as readonly EnvRow[],

    /** A variable with a default, which is written as a person would write it and must be of the same kind. */
    value<T>(key: string, kind: EnvKind<T>, fallback: string, meaning: string): T {
      const value = parse(key, kind, { shownDefault: fallback, meaning, isOptional: false });
      return value === undefined ? (kind.parse(fallback) as T) : value;
    },

    /** A variable that may be absent; `shown` says in the help what happens then. */
    optional<T>(key: string, kind: EnvKind<T>, shown: string, meaning: string): T | null {
      return parse(key, kind, { shownDefault: shown, meaning, isOptional: true }) ?? null;
    },

    isSet(key: string): boolean {
      return Boolean(env[key]);
    },

    /** The names of all variables that are set, for keys that have a part of the operator's choice. */
    setKeys: Object.keys(env).filter((key) => env[key]) as readonly string[],

    /** Notes what no single value shows: two that exclude each other, one that another makes necessary. */
    problem(sentence: string): void {
      problems.push(sentence);
    },

    finish(): void {
      if (problems.length > 0) throw new ConfigError(problems);
    },
  };
}

/**
 * The rows as a person reads them in a terminal, and as a `.env` file that gives the same configuration: what cannot be
 * copied is a comment, such as a secret, a key without a value and `OIDC_<NAME>_ISSUER`.
 */
export function formatRows(rows: readonly EnvRow[]): string {
  // Not indented: of an indented comment with a "=", Node.js makes a key.
  return rows.map((row) => `${settingOf(row)}\n#   ${row.meaning} ${defaultOf(row)}\n`).join("");
}

function settingOf({ key, current, isAbsent }: EnvRow): string {
  if (isAbsent) return `# ${key}=`;
  const canBeCopied = !current.includes(hidden) && /^\w+$/.test(key);
  return `${canBeCopied ? "" : "# "}${key}=${quoted(current)}`;
}

/** As a shell and a `.env` file read it. */
function quoted(value: string): string {
  if (/^[\w./:,@%+[\]-]*$/.test(value)) return value;
  return value.includes("'") ? `"${value}"` : `'${value}'`;
}

function defaultOf(row: EnvRow): string {
  if (row.isAbsent) return `(not set: ${row.default})`;
  return row.current === row.default ? "(default)" : `(default: ${row.default})`;
}
