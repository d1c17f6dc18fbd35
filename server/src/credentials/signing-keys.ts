import { createHash, createPublicKey, createSecretKey, type KeyObject } from "node:crypto";

export const jwtAlgorithms = ["HS256", "EdDSA"] as const;
export type JwtAlgorithm = (typeof jwtAlgorithms)[number];

/** One key signs; the keys before it are accepted until what they signed has expired. */
export interface SigningKeys {
  readonly algorithm: JwtAlgorithm;
  readonly signer: { readonly kid: string; readonly key: KeyObject };
  readonly verifiers: ReadonlyMap<string, KeyObject>;
  /** As in RFC 7517; none for a shared secret. */
  readonly publicKeys: readonly PublicJwk[];
}

export type PublicJwk = { kty: "OKP"; crv: "Ed25519"; x: string; kid: string; alg: "EdDSA"; use: "sig" };

export function sharedSecrets(secrets: readonly string[]): SigningKeys {
  const keys = secrets.map((secret) => ({ kid: secretId(secret), key: createSecretKey(secret, "utf8") }));
  return {
    algorithm: "HS256",
    signer: newest(keys),
    verifiers: new Map(keys.map(({ kid, key }) => [kid, key])),
    publicKeys: [],
  };
}

export function ed25519Keys(privateKeys: readonly KeyObject[]): SigningKeys {
  const keys = privateKeys.map((key) => ({ key, publicJwk: toPublicJwk(key) }));
  return {
    algorithm: "EdDSA",
    signer: newest(keys.map(({ key, publicJwk }) => ({ key, kid: publicJwk.kid }))),
    verifiers: new Map(keys.map(({ key, publicJwk }) => [publicJwk.kid, createPublicKey(key)])),
    publicKeys: keys.map(({ publicJwk }) => publicJwk),
  };
}

function newest<T>([first]: readonly T[]): T {
  if (first === undefined) throw new Error("A hub needs a signing key.");
  return first;
}

function secretId(secret: string): string {
  return createHash("sha256").update(`kid:${secret}`).digest("base64url").slice(0, 8);
}

/** The `kid` is the key's thumbprint. Source: RFC 7638 and, for Ed25519, RFC 8037, section 2. */
function toPublicJwk(privateKey: KeyObject): PublicJwk {
  const { x } = createPublicKey(privateKey).export({ format: "jwk" }) as { x: string };
  const kid = createHash("sha256").update(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).digest("base64url");
  return { kty: "OKP", crv: "Ed25519", x, kid, alg: "EdDSA", use: "sig" };
}
