import { createPrivateKey, type KeyObject } from "node:crypto";
import { hidden, Secret } from "./secret.ts";

/** `must` completes "give …"; `parse` returns undefined for another shape; `print` hides secrets. */
export type EnvKind<T> = { must: string; parse(text: string): T | undefined; print?(value: T): string };

export const text: EnvKind<string> = { must: "a text", parse: (value) => value };

export function integer(min: number, max: number): EnvKind<number> {
  return {
    must: `a whole number from ${min} to ${max}`,
    parse: (value) => within(/^\d{1,15}$/.test(value) ? Number(value) : undefined, min, max),
  };
}

/** Milliseconds, written as `500ms`, `20s`, `15m`, `1h` or `30d`, like the bounds. */
export function duration(min: string, max: string): EnvKind<number> {
  const [minMs, maxMs] = [durationMs(min)!, durationMs(max)!];
  return {
    must: `a duration from ${min} to ${max}, as in 500ms, 20s, 15m, 1h or 30d`,
    parse: (value) => within(durationMs(value), minMs, maxMs),
  };
}

/** Bytes, written as `500MiB`, `20GiB` or `2TiB`, like the bounds. */
export function size(min: string, max: string): EnvKind<number> {
  return {
    must: `a size from ${min} to ${max}, as in 500MiB, 20GiB or 2TiB`,
    parse: (value) => within(sizeBytes(value), sizeBytes(min)!, sizeBytes(max)!),
  };
}

/** `null`: the word itself. */
export function wordOr<T>(word: string, kind: EnvKind<T>): EnvKind<T | null> {
  return {
    must: `${word}, or ${kind.must}`,
    parse: (value) => (value === word ? null : kind.parse(value)),
  };
}

export function oneOf<const T extends string>(...choices: T[]): EnvKind<T> {
  return { must: choices.join(" or "), parse: (value) => choices.find((choice) => choice === value) };
}

export function listOf<T>(item: EnvKind<T>): EnvKind<T[]> {
  return {
    must: `${item.must}, several separated by commas`,
    parse(value) {
      const items = value.split(",").map((part) => item.parse(part.trim()));
      return items.some((part) => part === undefined) ? undefined : [...new Set(items as T[])];
    },
  };
}

export const origin: EnvKind<string> = {
  must: "an origin such as https://app.example.com, or *",
  parse: (value) => (value === "*" || URL.parse(value)?.origin === value ? value : undefined),
};

export const webUrl: EnvKind<string> = {
  must: "a URL such as https://hub.example.com",
  parse(value) {
    const url = URL.parse(value);
    const isPlain = url?.host && !url.search && !url.hash && !url.username;
    return isPlain && /^https?:$/.test(url.protocol) ? url.href.replace(/\/+$/, "") : undefined;
  },
};

export function secretText(minCharacters: number): EnvKind<Secret> {
  return {
    must: `at least ${minCharacters} characters`,
    parse: (value) => (value.length >= minCharacters ? new Secret(value) : undefined),
    print: () => hidden,
  };
}

/** In hexadecimal or base64, either alphabet, with or without padding. */
export function secretBytes(sizeBytes: number): EnvKind<Secret<Buffer>> {
  return {
    must: `${sizeBytes} bytes in base64 or hexadecimal, as made by \`openssl rand -base64 ${sizeBytes}\``,
    parse(value) {
      const isHex = value.length === sizeBytes * 2 && /^[0-9a-f]+$/i.test(value);
      if (!isHex && !/^[\w+/-]+={0,2}$/.test(value)) return undefined;
      const bytes = Buffer.from(value, isHex ? "hex" : "base64");
      return bytes.length === sizeBytes ? new Secret(bytes) : undefined;
    },
    print: () => hidden,
  };
}

/** An Ed25519 private key: PKCS#8, as PEM (its line breaks may be written `\\n`) or as the base64 of its DER. */
export const ed25519PrivateKey: EnvKind<Secret<KeyObject>> = {
  must: "an Ed25519 private key, as made by `openssl genpkey -algorithm ed25519 -outform DER | base64`",
  parse(value) {
    try {
      const isPem = value.includes("-----BEGIN");
      const key = isPem
        ? createPrivateKey(value.replaceAll("\\n", "\n"))
        : createPrivateKey({ key: Buffer.from(value, "base64"), format: "der", type: "pkcs8" });
      return key.asymmetricKeyType === "ed25519" ? new Secret(key) : undefined;
    } catch {
      return undefined;
    }
  },
  print: () => hidden,
};

export function newestFirst<T>(item: EnvKind<Secret<T>>): EnvKind<Secret<T>[]> {
  return {
    must: `${item.must}; several separated by commas, the newest first`,
    parse(value) {
      const items = value.split(",").map((part) => item.parse(part.trim()));
      return items.some((part) => part === undefined) ? undefined : (items as Secret<T>[]);
    },
    print: () => hidden,
  };
}

export const databaseUrl: EnvKind<Secret> = {
  must: "a URL such as postgres://user:password@host:5432/database",
  parse: (value) => (/^postgres(ql)?:\/\/./.test(value) ? new Secret(value) : undefined),
  print: (url) => withoutPassword(url.reveal()),
};

export const redisUrl: EnvKind<Secret> = {
  must: "a URL such as redis://user:password@host:6379/0, or rediss:// for TLS",
  parse(value) {
    const url = URL.parse(value);
    const isPlain = url?.hostname && /^(\/\d*)?$/.test(url.pathname) && !url.search && !url.hash;
    return isPlain && /^rediss?:$/.test(url.protocol) ? new Secret(value) : undefined;
  },
  print: (url) => withoutPassword(url.reveal()),
};

export function isHidden<T>(kind: EnvKind<T>): boolean {
  return kind.print !== undefined;
}

const unitMs: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function durationMs(value: string): number | undefined {
  const [, amount, unit] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(value) ?? [];
  return amount && unit ? Number(amount) * unitMs[unit]! : undefined;
}

const unitBytes: Record<string, number> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

function sizeBytes(value: string): number | undefined {
  const [, amount, unit] = /^(\d{1,6})([KMGT]iB)$/.exec(value) ?? [];
  return amount && unit ? Number(amount) * unitBytes[unit]! : undefined;
}

function within(value: number | undefined, min: number, max: number): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined;
}

/** The password can be before the host or among the parameters. */
function withoutPassword(url: string): string {
  return url
    .replace(/^(\w+:\/\/[^:@/]*):.*@(?=[^@]*$)/, `$1:${hidden}@`)
    .replace(/([?&](?:ssl)?password=)[^&]*/gi, `$1${hidden}`);
}
