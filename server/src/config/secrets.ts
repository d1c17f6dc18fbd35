import { type JwtAlgorithm, jwtAlgorithms } from "../credentials/credentials.ts";
import * as kind from "../lib/env-kinds.ts";
import type { EnvReader } from "../lib/env-reader.ts";

/**
 * The keys of the hub. Each list is newest first: the first key signs or encrypts, all of them verify or decrypt.
 * `null`: generated into `DATA_DIR`, unless they are required.
 */
export function readSecrets(read: EnvReader, { areRequired }: { areRequired: boolean }) {
  const secrets = {
    jwtAlgorithm: read.value(
      "JWT_ALG",
      kind.oneOf(...jwtAlgorithms),
      "HS256",
      "How access tokens are signed: HS256 with JWT_SECRET, EdDSA with JWT_PRIVATE_KEY.",
    ),
    jwt: read.optional(
      "JWT_SECRET",
      kind.newestFirst(kind.secretText(32)),
      "generated into DATA_DIR",
      "Signs access tokens; several, newest first, to replace one. Required with DATABASE_URL.",
    ),
    jwtPrivateKeys: read.optional(
      "JWT_PRIVATE_KEY",
      kind.newestFirst(kind.ed25519PrivateKey),
      "generated into DATA_DIR",
      "An Ed25519 key that signs access tokens with JWT_ALG=EdDSA, instead of JWT_SECRET; several, newest first, to replace one.",
    ),
    encryptionKeys: read.optional(
      "ENCRYPTION_KEY",
      kind.newestFirst(kind.secretBytes(32)),
      "generated into DATA_DIR",
      "Encrypts credentials at rest; several, newest first, to replace one. Required with DATABASE_URL.",
    ),
  };
  if (areRequired) requireSecrets(read, secrets.jwtAlgorithm);
  return secrets;
}

/** Processes that share a database must share the secrets; generated ones would differ on each machine. */
function requireSecrets(read: EnvReader, jwtAlgorithm: JwtAlgorithm): void {
  if (jwtAlgorithm === "HS256" && !read.isSet("JWT_SECRET")) {
    read.problem("JWT_SECRET is missing: with DATABASE_URL, give at least 32 characters, the same to every process.");
  }
  if (jwtAlgorithm === "EdDSA" && !read.isSet("JWT_PRIVATE_KEY")) {
    read.problem(
      "JWT_PRIVATE_KEY is missing: with DATABASE_URL and JWT_ALG=EdDSA, give an Ed25519 key, the same to every process.",
    );
  }
  if (!read.isSet("ENCRYPTION_KEY")) {
    read.problem(
      "ENCRYPTION_KEY is missing: with DATABASE_URL, give 32 bytes in base64 or hexadecimal, the same to every process.",
    );
  }
}
