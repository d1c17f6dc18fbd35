import { Type } from "typebox";
import type { App } from "../http/server.ts";
import type { Tokens } from "../identity/tokens.ts";

/** How long others may go by what they have read, in seconds: a new key is here that long before it signs. */
const maxAgeSeconds = 300;

/** `/.well-known/jwks.json`: by which other programs check access tokens without asking the hub. */
export function jwksRoutes(app: App, { tokens }: { tokens: Pick<Tokens, "publicKeys"> }): void {
  app.get(
    "/.well-known/jwks.json",
    {
      config: { access: "public" },
      schema: {
        tags: ["Identity"],
        security: [],
        summary: "The public keys of access tokens",
        description:
          "A JSON Web Key Set (RFC 7517) with JWT_ALG=EdDSA; with HS256, which has no public key, an empty one. " +
          "A valid signature says who the hub gave the token to, not that the session still holds.",
        response: { 200: Type.Object({ keys: Type.Array(publicKey) }) },
      },
    },
    async (_request, reply) => {
      reply.header("cache-control", `public, max-age=${maxAgeSeconds}`);
      return { keys: [...tokens.publicKeys] };
    },
  );
}

const publicKey = Type.Object({
  kty: Type.Literal("OKP"),
  crv: Type.Literal("Ed25519"),
  x: Type.String(),
  kid: Type.String(),
  alg: Type.Literal("EdDSA"),
  use: Type.Literal("sig"),
});
