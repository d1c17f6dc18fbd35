import { pino } from "pino";
import { openPostgresBus } from "../../../server/src/bus/postgres-bus.ts";
import { connectorFor, connectors } from "../../../server/src/connectors/registry.ts";
import { addressParser } from "../../../server/src/contacts/contacts.ts";
import {
  noOrigin,
  openAuthenticator,
  openTokens,
  type Principal,
  sharedSecrets,
} from "../../../server/src/credentials/credentials.ts";
import type { RequestDb } from "../../../server/src/database-roles.ts";
import { lookUps, openDatabases, pipelineUrl } from "../../../server/src/databases.ts";
import { openEventNotifier } from "../../../server/src/events/events.ts";
import { openRestServer } from "../../../server/src/http/server.ts";
import { systemClock } from "../../../server/src/lib/clock.ts";
import { openLocalFanout } from "../../../server/src/lib/fanout/local-fanout.ts";
import { openPool, withSettings } from "../../../server/src/lib/postgres.ts";
import { readOrCreateSecrets } from "../../../server/src/lib/secrets-file.ts";
import { Acceptor } from "../../../server/src/messages/messages.ts";
import { messageRoutes } from "../../../server/src/rest/messages.ts";
import { topics } from "../../../server/src/topics.ts";
import { serve } from "../child.ts";

export interface AcceptOrder {
  databaseUrl: string;
  dataDir: string;
  workspaceId: string;
  userId: string;
  /** Whether it asks who calls, and the database holds workspaces apart. */
  isGuarded: boolean;
}

const log = pino({ level: "silent" });
const clock = systemClock;
const connections = 4;

/** The hub's own parts for accepting messages, put together with what guards them and without. */
serve(async ({ databaseUrl, dataDir, workspaceId, userId, isGuarded }: AcceptOrder) => {
  const { acceptDbOf, identityDb } = openDatabases({ url: databaseUrl, size: connections, log });
  const fanout = openLocalFanout(log);
  const bus = await openPostgresBus({
    url: pipelineUrl(databaseUrl),
    fanout,
    clock,
    log,
    topics: [topics.messageProcessing, topics.inbound, ...connectors.map(({ channel }) => topics.outgoing(channel))],
    partitions: 16,
    leaseMs: 4_000,
  });
  const eventNotifier = openEventNotifier({ fanout, clock });
  const dbOf = isGuarded ? acceptDbOf : withoutPolicies(databaseUrl);
  const acceptor = new Acceptor({
    dbOf,
    bus,
    eventNotifier,
    clock,
    batchSize: 500,
    queueSize: 10_000,
    maxWaitMs: 1_000,
  });

  const keys = sharedSecrets(readOrCreateSecrets(dataDir).jwt.map((secret) => secret.reveal()));
  const tokens = openTokens({ clock, keys, accessTokenTtlMs: 3_600_000, refreshTokenTtlMs: 3_600_000 });
  const { authenticate } = openAuthenticator({ db: identityDb, clock, tokens });
  const known = principalOf(workspaceId, userId);
  const app = await openRestServer({ log, authenticate: isGuarded ? authenticate : () => known, dbOf });
  const prepare = {
    clock,
    isChannel: (name: string) => connectorFor(name) !== undefined,
    parseAddress: addressParser(connectors),
    findDirects: () => Promise.reject(new Error("the bench names conversations")),
    isAccount: () => Promise.resolve(false),
    findRefusedFiles: () => Promise.resolve(new Map()),
    findAccepted: () => Promise.resolve(new Map()),
  };
  messageRoutes(app, { acceptor, prepare, capabilitiesOf: () => null });
  return await app.listen({ host: "127.0.0.1", port: 0 });
});

/** The owner of the embedded database is a superuser, for whom no policy holds. Plans as the hub's pool does. */
function withoutPolicies(databaseUrl: string): () => RequestDb {
  const url = withSettings(databaseUrl, lookUps);
  const db = openPool({ url, size: connections, applicationName: "bench accept", log });
  return () => db;
}

function principalOf(workspaceId: string, userId: string): Principal {
  return {
    kind: "user",
    callerId: userId,
    workspaceId,
    role: "agent",
    userId,
    participantId: userId,
    sessionId: null,
    scopes: ["*"],
    rateLimit: null,
    origin: noOrigin,
  };
}
