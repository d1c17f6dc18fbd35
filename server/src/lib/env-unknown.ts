import type { Env } from "./env-reader.ts";

export type EnvNames = {
  known: readonly string[];
  /** Keys of a later version; a `*` at the end matches any rest. */
  later: readonly string[];
  families: readonly string[];
};

/** In our own file every unknown name is a problem, in the environment only what resembles a key of ours. */
export function unknownVariables(process: Env, file: Env, names: EnvNames): string[] {
  const problems: string[] = [];
  for (const key of new Set([...Object.keys(process), ...Object.keys(file)])) {
    const isSet = Boolean(process[key] || file[key]);
    if (!isSet || names.known.includes(key) || (othersNames.has(key) && !file[key])) continue;
    if (names.later.some((later) => matches(key, later))) {
      problems.push(`${key} is not supported by this version: remove it.`);
      continue;
    }
    const meant = nearestName(key, names.known);
    const isOurs =
      file[key] || meant || (names.families.some((family) => key.startsWith(family)) && !isServiceLink(key));
    if (isOurs) problems.push(`${key} is unknown: ${meant ? `did you mean ${meant}?` : "remove it."}`);
  }
  return problems;
}

/** Variables of other programs that resemble ours, such as one of OpenSSL. */
const othersNames = new Set(["SSL_CERT_FILE"]);

function matches(key: string, pattern: string): boolean {
  return pattern.endsWith("*") ? key.startsWith(pattern.slice(0, -1)) : key === pattern;
}

/** Kubernetes and Docker set such names for every service. */
function isServiceLink(key: string): boolean {
  return /_SERVICE_(HOST|PORT)|_PORT(_\d+_(TCP|UDP).*)?$/.test(key);
}

const shortestGuess = 8;
const longEnoughForTwo = 10;

/** The key that is one edit away, or two for a long name. Short names resemble too many others. */
function nearestName(key: string, names: readonly string[]): string | undefined {
  return names.find(
    (name) => name.length >= shortestGuess && slips(key, name) <= (name.length >= longEnoughForTwo ? 2 : 1),
  );
}

/** The optimal string alignment distance. */
function slips(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = rows[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = isSwap ? rows[i - 2]![j - 2]! + 1 : Number.POSITIVE_INFINITY;
      row.push(Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, change, swap));
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
