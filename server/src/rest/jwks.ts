import { jwks } from "../../../contract/src/jwks.ts";
import type { Tokens } from "../credentials/credentials.ts";
import type { App } from "../http/app.ts";
import { route } from "../http/route.ts";

/** How long others may use what they have read, in seconds: a new key is published that long before it signs. */
const maxAgeSeconds = 300;

/** `/.well-known/jwks.json`: other programs verify access tokens with it without asking the hub. */
export function jwksRoutes(app: App, { tokens }: { tokens: Pick<Tokens, "publicKeys"> }): void {
  route(app, jwks.getPublicKeys, (_request, reply) => {
    reply.header("cache-control", `public, max-age=${maxAgeSeconds}`);
    return { keys: [...tokens.publicKeys] };
  });
}
