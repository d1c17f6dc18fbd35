import type { Server as SecureServer } from "node:tls";
import type { Logger } from "pino";
import { type ChannelAccounts, openCodeSender } from "../channel-accounts/channel-accounts.ts";
import type { Config } from "../config/config.ts";
import type { Connector, ConnectorIo } from "../connectors/connector.ts";
import { connectors } from "../connectors/registry.ts";
import { addressParser } from "../contacts/contacts.ts";
import { findDirectsTo, type NewDirect } from "../conversations/conversations.ts";
import type { Authenticator } from "../credentials/credentials.ts";
import type { PipelineDb, RequestDb } from "../database-roles.ts";
import type { ReplayDeps } from "../dead-letters/dead-letters.ts";
import type { EventNotifier } from "../events/events.ts";
import { type FileDeps, findRefusedFiles } from "../files/files.ts";
import type { App } from "../http/app.ts";
import { honourIdempotencyKeys } from "../http/idempotency.ts";
import { limitRequests } from "../http/request-limits.ts";
import { openRestServer } from "../http/server.ts";
import { renewCertificate } from "../http/tls.ts";
import { limitWriteAnswers } from "../http/write-answers.ts";
import { readCertificate } from "../lib/certificate.ts";
import type { HttpClient } from "../lib/http.ts";
import type { ChannelAccountId } from "../lib/ids.ts";
import type { RateLimits } from "../lib/rate-limits/rate-limits.ts";
import type { SecretBox } from "../lib/secret-box.ts";
import {
  type Acceptor,
  checkFirstMessages,
  type DirectMessage,
  findAccepted,
  type PrepareDeps,
  showMessages,
} from "../messages/messages.ts";
import type { TaskNotifier } from "../tasks/tasks.ts";
import { openTester } from "../webhook-endpoints/webhook-endpoints.ts";
import { addressRoutes } from "./addresses.ts";
import { apiKeyRoutes } from "./api-keys.ts";
import { auditLogRoutes } from "./audit-log.ts";
import { authRoutes } from "./auth.ts";
import { type ChannelAccountRoutesDeps, channelAccountRoutes } from "./channel-accounts.ts";
import { contactRoutes } from "./contacts.ts";
import { type ConversationRouteDeps, conversationRoutes } from "./conversations.ts";
import { deadLetterRoutes } from "./dead-letters.ts";
import { type AdmitStream, eventRoutes } from "./events.ts";
import { filePageRoutes } from "./file-pages.ts";
import { fileRoutes } from "./files.ts";
import { jwksRoutes } from "./jwks.ts";
import { type LogInDeps, logInRoutes } from "./log-in.ts";
import { meRoutes } from "./me.ts";
import { messageRoutes } from "./messages.ts";
import { objectRoutes } from "./objects.ts";
import { type OperationDeps, operationRoutes } from "./operations.ts";
import { statsRoutes } from "./stats.ts";
import { taskRoutes } from "./tasks.ts";
import { userRoutes } from "./users.ts";
import { webhookEndpointRoutes } from "./webhook-endpoints.ts";
import { type WebhookRouteDeps, webhookRoutes } from "./webhooks.ts";
import { workspaceRoutes } from "./workspaces.ts";

interface RestDeps
  extends Omit<LogInDeps, "registration" | "publicUrl" | "box" | "forget">,
    Omit<ReplayDeps, "db">,
    Pick<ConversationRouteDeps, "signals" | "typingNotifier" | "capabilitiesOf"> {
  config: Pick<Config, "http" | "identity" | "limits" | "webhooks">;
  log: Logger;
  dbOf: (workspaceId: string) => RequestDb;
  pipelineDb: PipelineDb;
  authenticator: Pick<Authenticator, "authenticate" | "forget">;
  secretBox: SecretBox;
  limits: RateLimits;
  eventNotifier: EventNotifier;
  taskNotifier: TaskNotifier;
  files: FileDeps;
  accounts: ChannelAccounts;
  acceptor: Acceptor;
  connectorIo: ConnectorIo;
  connectorFor: (channel: string) => Connector | undefined;
  healthOf: ChannelAccountRoutesDeps["healthOf"];
  inboundWebhooks: WebhookRouteDeps["store"];
  endpointHttp: HttpClient;
  troubles: OperationDeps["troubles"];
  backlog: OperationDeps["backlog"];
}

interface RestParts {
  operations: Pick<OperationDeps, "dependencies" | "phase">;
  /** Null in a process without the role realtime. */
  admitStream: AdmitStream | null;
  /** Otherwise there are events and operations only. */
  hasApi: boolean;
  compilesAtStart?: boolean;
}

export async function openRest(
  deps: RestDeps,
  { operations, admitStream, hasApi, compilesAtStart = false }: RestParts,
): Promise<App> {
  const { dbOf, identityDb, clock, config, log, hasher, tokens, accounts, acceptor, bus, mailer, providers } = deps;
  const { capabilitiesOf, connectorFor, secretBox: box, signals, eventNotifier, troubles, backlog } = deps;
  const { authenticate, forget } = deps.authenticator;
  const app = await openRestServer({
    log,
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
    const renewal = renewCertificate(server, { files: config.http.tls, clock, log });
    app.addHook("onClose", () => renewal.close());
  }
  limitRequests(app, { limits: deps.limits, ...config.limits });
  operationRoutes(app, { ...operations, troubles, backlog, needingAttention: () => accounts.countNeedingAttention() });
  eventRoutes(app, { admitStream });
  if (!hasApi) return app;
  // A change may have caused events.
  app.addHook("onResponse", (request, reply, done) => {
    if (request.method !== "GET" && reply.statusCode < 400 && request.principal !== null) {
      eventNotifier.notify(request.principal.workspaceId);
    }
    done();
  });
  const parseAddress = addressParser(connectors);
  honourIdempotencyKeys(app, { identityDb, clock, box });
  limitWriteAnswers(app);

  const { registration } = config.identity;
  const { publicUrl } = config.http;
  authRoutes(app, { db: identityDb, clock, hasher, tokens, box, forget, registration });
  const people = { identityDb, clock, log, hasher, tokens, box, forget, mailer, providers };
  logInRoutes(app, { ...people, registration, publicUrl });
  jwksRoutes(app, { tokens });
  meRoutes(app, { box });
  apiKeyRoutes(app, { clock, forget });
  userRoutes(app, { clock, hasher, forget });
  workspaceRoutes(app, { db: identityDb, clock, hasher });
  auditLogRoutes(app);
  statsRoutes(app, { pipelineDb: deps.pipelineDb, clock });
  contactRoutes(app, { clock, parseAddress });
  addressRoutes(app, {
    clock,
    parseAddress,
    findCodeRoute: openCodeSender({ accounts, io: deps.connectorIo, log }),
  });
  const { typingNotifier } = deps;
  conversationRoutes(app, { clock, parseAddress, signals, capabilitiesOf, showMessages, typingNotifier });
  messageRoutes(app, { acceptor, prepare: prepareDeps(deps, parseAddress), capabilitiesOf });
  await fileRoutes(app, deps.files);
  filePageRoutes(app, deps.files, dbOf);
  taskRoutes(app, { clock, taskNotifier: deps.taskNotifier });
  if (deps.files.store.handle !== null) await objectRoutes(app, deps.files.store.handle);
  deadLetterRoutes(app, { bus, clock });
  channelAccountRoutes(app, {
    accounts,
    io: deps.connectorIo,
    publicUrl,
    healthOf: deps.healthOf,
  });
  const webhooks = { clock, secretBox: box, eventNotifier, ...config.webhooks };
  const tester = openTester({ ...webhooks, http: deps.endpointHttp, log });
  webhookEndpointRoutes(app, { ...webhooks, tester });
  webhookRoutes(app, {
    store: deps.inboundWebhooks,
    connectorFor,
    peekAccount: accounts.peek,
    findAccount: accounts.get,
  });
  return app;
}

function prepareDeps(
  { dbOf, clock, accounts, connectorFor }: RestDeps,
  parseAddress: ReturnType<typeof addressParser>,
): PrepareDeps {
  return {
    clock,
    isChannel: (name) => connectorFor(name) !== undefined,
    parseAddress,
    findDirects(caller, asked) {
      const { workspaceId } = caller;
      const db = dbOf(workspaceId);
      const check = (directs: readonly NewDirect<DirectMessage>[]) =>
        checkFirstMessages(
          db,
          workspaceId,
          directs.map(({ asked, recipientId }) => ({ ...asked, channel: asked.address.channel, recipientId })),
        );
      return findDirectsTo({ db, clock, check }, caller, asked);
    },
    async isAccount(workspaceId, channel, channelAccountId) {
      const account = await accounts.get(channelAccountId as ChannelAccountId);
      return account?.workspaceId === workspaceId && account.channel === channel && account.status !== "disabled";
    },
    findRefusedFiles: (caller, fileIds) => findRefusedFiles(dbOf(caller.workspaceId), caller, fileIds),
    findAccepted: (workspaceId, messageIds) => findAccepted(dbOf(workspaceId), workspaceId, messageIds),
  };
}
