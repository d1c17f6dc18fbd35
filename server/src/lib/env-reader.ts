import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";
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
  isAbsent: boolean;
};

export class ConfigError extends StartError {
  override name = "ConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The configuration cannot be used:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
    this.problems = problems;
  }
}

export type EnvReader = ReturnType<typeof envReader>;

/** Notes a malformed value and returns its default; `finish` throws one error for all. An empty value is unset. */
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

    value<T>(key: string, kind: EnvKind<T>, fallback: string, meaning: string): T {
      const value = parse(key, kind, { shownDefault: fallback, meaning, isOptional: false });
      return value === undefined ? (kind.parse(fallback) as T) : value;
    },

    optional<T>(key: string, kind: EnvKind<T>, shown: string, meaning: string): T | null {
      return parse(key, kind, { shownDefault: shown, meaning, isOptional: true }) ?? null;
    },

    isSet(key: string): boolean {
      return Boolean(env[key]);
    },

    setKeys: Object.keys(env).filter((key) => env[key]) as readonly string[],

    problem(sentence: string): void {
      problems.push(sentence);
    },

    finish(): void {
      if (problems.length > 0) throw new ConfigError(problems);
    },
  };
}

/** A table that is also a `.env` file. What cannot be copied (a secret, a key without a value) is a comment. */
export function formatRows(rows: readonly EnvRow[]): string {
  // Not indented: Node.js reads an indented comment with a "=" as a key.
  return rows.map((row) => `${settingOf(row)}\n#   ${row.meaning} ${defaultOf(row)}\n`).join("");
}

function settingOf({ key, current, isAbsent }: EnvRow): string {
  if (isAbsent) return `# ${key}=`;
  const canBeCopied = !current.includes(hidden) && /^\w+$/.test(key);
  return `${canBeCopied ? "" : "# "}${key}=${quoted(current)}`;
}

function quoted(value: string): string {
  if (/^[\w./:,@%+[\]-]*$/.test(value)) return value;
  return value.includes("'") ? `"${value}"` : `'${value}'`;
}

function defaultOf(row: EnvRow): string {
  if (row.isAbsent) return `(not set: ${row.default})`;
  return row.current === row.default ? "(default)" : `(default: ${row.default})`;
}

export function readEnvFile(path: string): Env {
  try {
    return parseEnv(readFileSync(path, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw new ConfigError([`${path} cannot be read (${(error as Error).message}).`]);
  }
}

/** The second wins, except where it has an empty text, which counts as unset. */
export function mergeEnv(file: Env, env: Env): Env {
  return { ...file, ...Object.fromEntries(Object.entries(env).filter(([, value]) => value)) };
}
