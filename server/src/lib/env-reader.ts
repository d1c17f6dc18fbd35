import { type EnvKind, isHidden } from "./env-kinds.ts";
import { hidden } from "./secret.ts";
import { StartError } from "./start-error.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** `default` and `current` never show a secret. */
export type EnvRow = {
  key: string;
  meaning: string;
  default: string;
  current: string;
  /** Without value and default; `current` says what happens then. */
  isAbsent: boolean;
};

/** The message lists everything that is wrong with the environment, one line each. */
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
 * Reads variables by kind and remembers each for the help. A malformed value is noted and replaced by its default;
 * `finish` then throws one `ConfigError` for all, so use no value before it. An empty value counts as unset.
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
    rows: rows as readonly EnvRow[],

    /** The default is written as in the environment. */
    value<T>(key: string, kind: EnvKind<T>, fallback: string, meaning: string): T {
      const value = parse(key, kind, { shownDefault: fallback, meaning, isOptional: false });
      return value === undefined ? (kind.parse(fallback) as T) : value;
    },

    /** `shown` says in the help what happens without it. */
    optional<T>(key: string, kind: EnvKind<T>, shown: string, meaning: string): T | null {
      return parse(key, kind, { shownDefault: shown, meaning, isOptional: true }) ?? null;
    },

    isSet(key: string): boolean {
      return Boolean(env[key]);
    },

    /** All names that are set, for keys with a part that the operator chooses. */
    setKeys: Object.keys(env).filter((key) => env[key]) as readonly string[],

    /** Notes a problem of several variables together. */
    problem(sentence: string): void {
      problems.push(sentence);
    },

    finish(): void {
      if (problems.length > 0) throw new ConfigError(problems);
    },
  };
}

/**
 * A table for the terminal that is also a `.env` file with the same configuration. What cannot be copied (a secret, a
 * key without a value, `OIDC_<NAME>_ISSUER`) is a comment.
 */
export function formatRows(rows: readonly EnvRow[]): string {
  // Not indented: Node.js reads an indented comment with a "=" as a key.
  return rows.map((row) => `${settingOf(row)}\n#   ${row.meaning} ${defaultOf(row)}\n`).join("");
}

function settingOf({ key, current, isAbsent }: EnvRow): string {
  if (isAbsent) return `# ${key}=`;
  const canBeCopied = !current.includes(hidden) && /^\w+$/.test(key);
  return `${canBeCopied ? "" : "# "}${key}=${quoted(current)}`;
}

/** For a shell and a `.env` file. */
function quoted(value: string): string {
  if (/^[\w./:,@%+[\]-]*$/.test(value)) return value;
  return value.includes("'") ? `"${value}"` : `'${value}'`;
}

function defaultOf(row: EnvRow): string {
  if (row.isAbsent) return `(not set: ${row.default})`;
  return row.current === row.default ? "(default)" : `(default: ${row.default})`;
}
