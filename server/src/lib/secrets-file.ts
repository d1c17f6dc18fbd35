import { generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writeFileDurably } from "../../../embedded-postgres/src/data-dir.ts";
import { ed25519PrivateKey, newestFirst, secretBytes, secretText } from "./env-kinds.ts";
import type { Secret } from "./secret.ts";
import { StartError } from "./start-error.ts";

/** Newest first, as in the variables of the same names. */
export interface GeneratedSecrets {
  /** Sign access tokens with HS256. */
  jwt: Secret[];
  /** Sign access tokens with EdDSA. */
  jwtPrivateKeys: Secret<KeyObject>[];
  encryptionKeys: Secret<Buffer>[];
}

const fields = ["jwt_secret", "jwt_private_key", "encryption_key"] as const;
type Field = (typeof fields)[number];
type Stored = Record<Field, string>;

/** A damaged file is a `StartError` and stays: it may be repaired. Call it while holding the data directory. */
export function readOrCreateSecrets(dataDir: string): GeneratedSecrets {
  const path = pathIn(dataDir);
  const stored = read(path);
  if (stored === undefined) {
    const made = Object.fromEntries(fields.map((field) => [field, generate[field]()])) as Stored;
    write(dataDir, made);
    return parse(path, made);
  }
  if ("jwt_private_key" in stored) return parse(path, stored as Stored);
  const completed = { ...stored, jwt_private_key: generate.jwt_private_key() } as Stored;
  const parsed = parse(path, completed);
  write(dataDir, completed);
  return parsed;
}

const keptSigningKeys = 2;

/** Adds new secrets in front. Old signing keys go, encryption keys stay. A running hub keeps what it has read. */
export function rotateSecrets(dataDir: string): void {
  const stored = readExisting(dataDir);
  const withNew = (field: Field, kept: number) =>
    [generate[field](), ...stored[field].split(",")].slice(0, kept).join(",");
  write(dataDir, {
    jwt_secret: withNew("jwt_secret", keptSigningKeys),
    jwt_private_key: withNew("jwt_private_key", keptSigningKeys),
    encryption_key: withNew("encryption_key", Number.POSITIVE_INFINITY),
  });
}

/** `inUse` has encrypted everything now. Newer keys stay. Returns the number of removed keys. */
export function dropOldEncryptionKeys(dataDir: string, inUse: Buffer): number {
  const stored = readExisting(dataDir);
  const keys = stored.encryption_key.split(",");
  const place = keys.indexOf(inUse.toString("base64"));
  if (place === -1) throw new StartError(`${pathIn(dataDir)} was changed meanwhile: run this again.`);
  const kept = keys.slice(0, place + 1);
  if (kept.length < keys.length) write(dataDir, { ...stored, encryption_key: kept.join(",") });
  return keys.length - kept.length;
}

const generate: Record<Field, () => string> = {
  jwt_secret: () => randomBytes(48).toString("base64url"),
  jwt_private_key: () =>
    generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" }).toString("base64"),
  encryption_key: () => randomBytes(32).toString("base64"),
};

function readExisting(dataDir: string): Stored {
  const path = pathIn(dataDir);
  const stored = read(path);
  if (stored === undefined) throw new StartError(`There is no ${path}: the hub creates it when it first starts.`);
  parse(path, { jwt_private_key: generate.jwt_private_key(), ...stored } as Stored);
  return { jwt_private_key: generate.jwt_private_key(), ...stored } as Stored;
}

function pathIn(dataDir: string): string {
  return join(dataDir, "secrets.json");
}

function read(path: string): Partial<Stored> | undefined {
  try {
    return Object(JSON.parse(readFileSync(path, "utf8")));
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new StartError(`${path} cannot be read (${(error as Error).message}): make it readable to this user.`);
  }
}

function write(dataDir: string, secrets: Stored): void {
  const path = pathIn(dataDir);
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    writeFileDurably(path, `${JSON.stringify(secrets, null, 2)}\n`, 0o600);
  } catch (error) {
    throw new StartError(`${path} cannot be written (${(error as Error).message}): make ${dataDir} writable.`);
  }
}

function parse(path: string, stored: Partial<Stored>): GeneratedSecrets {
  const jwt = newestFirst(secretText(32)).parse(String(stored.jwt_secret ?? ""));
  const jwtPrivateKeys = newestFirst(ed25519PrivateKey).parse(String(stored.jwt_private_key ?? ""));
  const encryptionKeys = newestFirst(secretBytes(32)).parse(String(stored.encryption_key ?? ""));
  if (!jwt || !jwtPrivateKeys || !encryptionKeys) {
    throw new StartError(`${path} is damaged: restore it from a backup.`);
  }
  return { jwt, jwtPrivateKeys, encryptionKeys };
}
