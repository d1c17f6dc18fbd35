import type { Server as SecureServer } from "node:tls";
import { openCodeSender } from "../channel-accounts/channel-accounts.ts";
import { connectors } from "../connectors/registry.ts";
import { addressParser } from "../contacts/contacts.ts";
import type { Context } from "../context.ts";
import { findDirectsTo, type NewDirect } from "../conversations/conversations.ts";
import type { App } from "../http/app.ts";
import { honourIdempotencyKeys } from "../http/idempotency.ts";
import { limitRequests } from "../http/request-limits.ts";
import { openRestServer } from "../http/server.ts";
import { renewCertificate } from "../http/tls.ts";
import { limitWriteAnswers } from "../http/write-answers.ts";
import { readCertificate } from "../lib/certificate.ts";
import { checkFirstMessages } from "../messages/first-messages.ts";
import type { DirectMessage, PrepareDeps } from "../messages/prepare.ts";
import { showMessages } from "../messages/show.ts";
import { findAccepted } from "../messages/write-messages.ts";
import type { Streams } from "../realtime/streams.ts";
import { openTester } from "../webhook-endpoints/webhook-endpoints.ts";
import { addressRoutes } from "./addresses.ts";
import { apiKeyRoutes } from "./api-keys.ts";
import { auditLogRoutes } from "./audit-log.ts";
import { authRoutes } from "./auth.ts";
import { channelAccountRoutes } from "./channel-accounts.ts";
import { contactRoutes } from "./contacts.ts";
import { conversationRoutes } from "./conversations.ts";
import { deadLetterRoutes } from "./dead-letters.ts";
import { eventRoutes } from "./events.ts";
import { jwksRoutes } from "./jwks.ts";
import { logInRoutes } from "./log-in.ts";
import { meRoutes } from "./me.ts";
import { messageRoutes } from "./messages.ts";
import { type OperationDeps, operationRoutes } from "./operations.ts";
import { userRoutes } from "./users.ts";
import { webhookEndpointRoutes } from "./webhook-endpoints.ts";
import { webhookRoutes } from "./webhooks.ts";
import { workspaceRoutes } from "./workspaces.ts";

export interface RestParts {
  operations: OperationDeps;
  /** Null in a process without the role realtime. */
  streams: Streams | null;
  /** Without it there are events and operations only. */
  hasApi: boolean;
  /** As in `RestOptions`. */
  compilesAtStart?: boolean;
}

/** The whole HTTP surface, not yet listening. */
export async function openRest(
  context: Context,
  { operations, streams, hasApi, compilesAtStart = false }: RestParts,
): Promise<App> {
  const { dbOf, identityDb, clock, config, hasher, tokens, accounts, acceptor } = context;
  const { capabilitiesOf, connectorFor, secretBox: box } = context;
  const { authenticate, forget } = context.authenticator;
  const app = await openRestServer({
    log: context.log,
    authenticate,
    dbOf,
    corsOrigins: config.http.corsOrigins,
    trustedProxies: config.http.trustedProxies,
    compilesAtStart,
    admissionWaitMs: config.http.admissionWaitMs,
    clock,
    certificate: config.http.tls && readCertificate(config.http.tls),
  });
  if (config.http.tls !== null) {
    const server = app.server as unknown as SecureServer;
    const renewal = renewCertificate(server, { files: config.http.tls, clock, log: context.log });
    app.addHook("onClose", () => renewal.close());
  }
  limitRequests(app, { limits: context.limits, ...config.limits });
  operationRoutes(app, operations);
  eventRoutes(app, { streams });
  if (!hasApi) return app;
  // Whatever a request changed may have told something.
  app.addHook("onResponse", (request, reply, done) => {
    if (request.method !== "GET" && reply.statusCode < 400 && request.principal !== null) {
      context.eventNotifier.notify(request.principal.workspaceId);
    }
    done();
  });
  const parseAddress = addressParser(connectors);
  honourIdempotencyKeys(app, { identityDb, clock, box });
  limitWriteAnswers(app);

  authRoutes(app, { db: identityDb, clock, hasher, tokens, box, forget, registration: config.identity.registration });
  const { registration } = config.identity;
  logInRoutes(app, { ...context, box, forget, registration, publicUrl: config.http.publicUrl });
  jwksRoutes(app, context);
  meRoutes(app, { box });
  apiKeyRoutes(app, { clock, forget });
  userRoutes(app, { clock, hasher, forget });
  workspaceRoutes(app, { db: identityDb, clock, hasher });
  auditLogRoutes(app);
  contactRoutes(app, { clock, parseAddress });
  addressRoutes(app, {
    clock,
    parseAddress,
    findCodeRoute: openCodeSender({ accounts, io: context.connectorIo, log: context.log }),
  });
  const { tellTyping, signals } = context;
  conversationRoutes(app, { clock, parseAddress, signals, capabilitiesOf, showMessages, tellTyping });
  messageRoutes(app, { acceptor, prepare: prepareDeps(context, parseAddress), capabilitiesOf });
  deadLetterRoutes(app, context);
  channelAccountRoutes(app, {
    accounts,
    io: context.connectorIo,
    publicUrl: config.http.publicUrl,
    healthOf: context.healthOf,
  });
  const webhooks = { clock, secretBox: box, eventNotifier: context.eventNotifier, ...config.webhooks };
  const tester = openTester({ ...webhooks, http: context.webhookHttp, log: context.log });
  webhookEndpointRoutes(app, { ...webhooks, tester });
  webhookRoutes(app, {
    store: context.webhookStore,
    connectorFor,
    peekAccount: accounts.peek,
    findAccount: accounts.get,
  });
  return app;
}

function prepareDeps(
  { dbOf, clock, accounts, connectorFor }: Context,
  parseAddress: ReturnType<typeof addressParser>,
): PrepareDeps {
  return {
    clock,
    isChannel: (name) => connectorFor(name) !== undefined,
    parseAddress,
    findDirects(caller, asked) {
      const { workspaceId } = caller;
      const db = dbOf(workspaceId);
      const judge = (news: readonly NewDirect<DirectMessage>[]) =>
        checkFirstMessages(
          db,
          workspaceId,
          news.map(({ asked, recipientId }) => ({ ...asked, channel: asked.address.channel, recipientId })),
        );
      return findDirectsTo({ db, clock, judge }, caller, asked);
    },
    async isAccount(workspaceId, channel, channelAccountId) {
      const account = await accounts.get(channelAccountId);
      return account?.workspaceId === workspaceId && account.channel === channel && account.status !== "disabled";
    },
    findAccepted: (workspaceId, messageIds) => findAccepted(dbOf(workspaceId), workspaceId, messageIds),
  };
}
