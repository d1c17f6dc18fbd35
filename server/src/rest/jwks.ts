import { jwks } from "../../../contract/src/jwks.ts";
import type { Tokens } from "../credentials/credentials.ts";
import type { App } from "../http/app.ts";
import { route } from "../http/route.ts";

/** How long programs may cache the keys, in seconds. */
const maxAgeSeconds = 300;

/** `/.well-known/jwks.json`: lets other programs verify access tokens. */
export function jwksRoutes(app: App, { tokens }: { tokens: Pick<Tokens, "publicKeys"> }): void {
  route(app, jwks.getPublicKeys, (_request, reply) => {
    reply.header("cache-control", `public, max-age=${maxAgeSeconds}`);
    return { keys: [...tokens.publicKeys] };
  });
}
