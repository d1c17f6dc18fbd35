import { Type } from "typebox";
import { operations } from "./operation.ts";
import { named } from "./schemas.ts";

const PublicKey = named(
  "PublicKey",
  Type.Object({
    kty: Type.Literal("OKP"),
    crv: Type.Literal("Ed25519"),
    x: Type.String(),
    kid: Type.String(),
    alg: Type.Literal("EdDSA"),
    use: Type.Literal("sig"),
  }),
);

export const jwks = operations("Authentication", {
  getPublicKeys: {
    method: "GET",
    path: "/.well-known/jwks.json",
    summary: "Get the public keys of access tokens",
    description:
      "A JSON Web Key Set (RFC 7517) with `JWT_ALG=EdDSA`. With HS256, which has no public key, it is empty. A valid " +
      "signature proves to whom the hub gave the token, not that the session still exists.",
    access: "public",
    answers: { 200: named("PublicKeys", Type.Object({ keys: Type.Array(PublicKey) })) },
  },
});
