import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import { ConfigError, type Env } from "./env-reader.ts";

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
