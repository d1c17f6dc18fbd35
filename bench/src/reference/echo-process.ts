import fastify from "fastify";
import { openAuthenticator, openTokens, sharedSecrets } from "../../../server/src/credentials/credentials.ts";
import { systemClock } from "../../../server/src/lib/clock.ts";
import { openPool } from "../../../server/src/lib/postgres.ts";
import { readOrCreateSecrets } from "../../../server/src/lib/secrets-file.ts";
import { serve } from "../child.ts";

export interface EchoOrder {
  databaseUrl: string;
  dataDir: string;
}

const quiet = { info() {}, warn() {}, error() {} };

/** The least a Fastify server can do with such a request: know who calls, parse the body, send it back. */
serve(async ({ databaseUrl, dataDir }: EchoOrder) => {
  const db = openPool({ url: databaseUrl, size: 2, applicationName: "bench echo", log: quiet });
  const keys = sharedSecrets(readOrCreateSecrets(dataDir).jwt.map((secret) => secret.reveal()));
  const tokens = openTokens({ clock: systemClock, keys, accessTokenTtlMs: 3_600_000, refreshTokenTtlMs: 3_600_000 });
  const { authenticate } = openAuthenticator({ db, clock: systemClock, tokens });
  const app = fastify();
  app.addHook("onRequest", async (request) => {
    await authenticate(request.headers.authorization);
  });
  app.post("/v1/messages", async (request) => request.body);
  return await app.listen({ host: "127.0.0.1", port: 0 });
});
