import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";

export interface SecretBox {
  /** A new envelope each time. It opens only with the same `context`, such as `channel_accounts/<id>`. */
  seal(plain: string, context: string): Buffer;
  /** Throws a `SecretBoxError` for an unknown key, another context, or any changed bit. */
  open(sealed: Buffer, context: string): string;
  /** Prefixes of envelopes that this box can open; the first is that of new ones. */
  readonly headers: readonly Buffer[];
}

export interface SecretBoxKey {
  /** 1 to 255 bytes; not secret. */
  readonly id: string;
  readonly key: Buffer;
}

export class SecretBoxError extends Error {
  override readonly name: string = "SecretBoxError";
}

/** The envelope needs a key that this box does not have; another process may. */
export class MissingKeyError extends SecretBoxError {
  override readonly name = "MissingKeyError";
}

/**
 * AES-256-GCM with a random 96-bit nonce: one key is good for 2^32 envelopes (NIST SP 800-38D, section 8.3). The first
 * key seals, all of them open: rotate by adding a new first key, then `reseal`. Envelope: version (1) · length of the
 * key id (1) · key id · nonce (12) · ciphertext · tag (16).
 */
export function openSecretBox(keys: readonly SecretBoxKey[] | Buffer): SecretBox {
  const held = Buffer.isBuffer(keys) ? [namedKey(keys)] : keys;
  const byId = new Map(held.map((key) => [key.id, key.key]));
  const [sealing] = held;
  if (sealing === undefined) throw new SecretBoxError("A secret box needs a key.");
  for (const { id, key } of held) checkKey(id, key);
  const header = headerOf(sealing);
  return {
    headers: held.map(headerOf),
    seal(plain, context) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv(algorithm, sealing.key, nonce, { authTagLength: tagBytes });
      cipher.setAAD(additionalData(header, context));
      const ciphertext = [cipher.update(plain, "utf8"), cipher.final()];
      return Buffer.concat([header, nonce, ...ciphertext, cipher.getAuthTag()]);
    },
    open(sealed, context) {
      const envelope = readEnvelope(sealed);
      const key = byId.get(envelope.keyId);
      if (key === undefined)
        throw new MissingKeyError(`The secret was sealed with the key ${envelope.keyId}, not held.`);
      const decipher = createDecipheriv(algorithm, key, envelope.nonce, { authTagLength: tagBytes });
      decipher.setAAD(additionalData(envelope.header, context));
      decipher.setAuthTag(envelope.tag);
      try {
        return decipher.update(envelope.ciphertext, undefined, "utf8") + decipher.final("utf8");
      } catch (cause) {
        throw new SecretBoxError("The secret was changed, or belongs elsewhere.", { cause });
      }
    },
  };
}

export function namedKey(key: Buffer): SecretBoxKey {
  return { id: keyId(key), key };
}

/** The name of a key without one: derived from the key, so equal in every process, and reveals nothing. */
export function keyId(key: Buffer): string {
  return createHash("sha256").update("secret-box key id\n").update(key).digest("hex").slice(0, 16);
}

const algorithm = "aes-256-gcm";
const version = 1;
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;

function checkKey(id: string, key: Buffer): void {
  const idBytes = Buffer.byteLength(id);
  if (idBytes === 0 || idBytes > 255) throw new SecretBoxError("The id of a key is 1 to 255 bytes long.");
  if (key.length !== keyBytes) throw new SecretBoxError(`A key is ${keyBytes} bytes long; ${id} has ${key.length}.`);
}

function headerOf({ id }: SecretBoxKey): Buffer {
  return Buffer.concat([Buffer.from([version, Buffer.byteLength(id)]), Buffer.from(id)]);
}

function additionalData(header: Buffer, context: string): Buffer {
  return Buffer.concat([header, Buffer.from(context)]);
}

function readEnvelope(sealed: Buffer) {
  const headerEnd = 2 + (sealed[1] ?? 0);
  const nonceEnd = headerEnd + nonceBytes;
  const tagStart = sealed.length - tagBytes;
  if (sealed[0] !== version || tagStart < nonceEnd) throw new SecretBoxError("This is not a sealed secret.");
  return {
    header: sealed.subarray(0, headerEnd),
    keyId: sealed.toString("utf8", 2, headerEnd),
    nonce: sealed.subarray(headerEnd, nonceEnd),
    ciphertext: sealed.subarray(nonceEnd, tagStart),
    tag: sealed.subarray(tagStart),
  };
}
