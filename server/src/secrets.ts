import type { Config } from "./config/config.ts";
import { ed25519Keys, type SigningKeys, sharedSecrets } from "./credentials/credentials.ts";
import { namedKey, type SecretBoxKey } from "./lib/secret-box.ts";
import type { GeneratedSecrets } from "./lib/secrets-file.ts";

interface Secrets {
  signingKeys: SigningKeys;
  /** Newest first. */
  encryptionKeys: SecretBoxKey[];
}

/** The configured secrets, else the generated ones (null when all must be configured). */
export function chooseSecrets(configured: Config["secrets"], generated: GeneratedSecrets | null): Secrets {
  const reveal = <T>(secrets: readonly { reveal(): T }[]) => secrets.map((secret) => secret.reveal());
  const signingKeys =
    configured.jwtAlgorithm === "EdDSA"
      ? ed25519Keys(reveal(configured.jwtPrivateKeys ?? generated!.jwtPrivateKeys))
      : sharedSecrets(reveal(configured.jwt ?? generated!.jwt));
  const encryptionKeys = reveal(configured.encryptionKeys ?? generated!.encryptionKeys).map(namedKey);
  return { signingKeys, encryptionKeys };
}
