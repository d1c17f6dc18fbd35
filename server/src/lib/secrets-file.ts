import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writeFileDurably } from "./durable-file.ts";
import { secretBytes, secretText } from "./env-kinds.ts";
import type { Secret } from "./secret.ts";
import { StartError } from "./start-error.ts";

export type GeneratedSecrets = {
  /** Signs access tokens. */
  jwt: Secret;
  /** 32 bytes for AES-256. */
  encryptionKey: Secret<Buffer>;
};

/**
 * The secrets of this data directory, in `secrets.json` (mode 0600); made on the first call, the same ever after.
 * Whoever loses the file can no longer read the credentials that were encrypted with it, so a damaged file is an
 * error (`StartError`) and never replaced. Call it while holding the data directory: two first calls at once would
 * each make their own.
 */
export function readOrCreateSecrets(dataDir: string): GeneratedSecrets {
  const path = join(dataDir, "secrets.json");
  return parse(path, read(path) ?? create(path, dataDir));
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new StartError(`${path} cannot be read (${(error as Error).message}): make it readable to this user.`);
  }
}

function create(path: string, dataDir: string): string {
  const secrets = {
    jwt_secret: randomBytes(48).toString("base64url"),
    encryption_key: randomBytes(32).toString("base64"),
  };
  const text = `${JSON.stringify(secrets, null, 2)}\n`;
  try {
    mkdirSync(dataDir, { recursive: true });
    writeFileDurably(path, text, 0o600);
  } catch (error) {
    throw new StartError(`${path} cannot be written (${(error as Error).message}): make ${dataDir} writable.`);
  }
  return text;
}

function parse(path: string, text: string): GeneratedSecrets {
  const fields = parseObject(text);
  const jwt = secretText(32).parse(String(fields.jwt_secret ?? ""));
  const encryptionKey = secretBytes(32).parse(String(fields.encryption_key ?? ""));
  if (!jwt || !encryptionKey) throw new StartError(`${path} is damaged: restore it from a backup.`);
  return { jwt, encryptionKey };
}

function parseObject(text: string): { jwt_secret?: unknown; encryption_key?: unknown } {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}
