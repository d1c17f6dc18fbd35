import { connectors } from "../connectors/registry.ts";
import { addressParser } from "../contacts/contacts.ts";
import type { Context } from "../context.ts";
import { findDirectTo } from "../conversations/conversations.ts";
import { markRead } from "../deliveries/mark-read.ts";
import type { PrepareDeps } from "../messages/prepare.ts";
import { showMessages } from "../messages/show.ts";
import { addressRoutes } from "./addresses.ts";
import { apiKeyRoutes } from "./api-keys.ts";
import { authRoutes } from "./auth.ts";
import { channelAccountRoutes } from "./channel-accounts.ts";
import { contactRoutes } from "./contacts.ts";
import { conversationRoutes } from "./conversations.ts";
import { deadLetterRoutes } from "./dead-letters.ts";
import { honourIdempotencyKeys } from "./idempotency.ts";
import { meRoutes } from "./me.ts";
import { messageRoutes } from "./messages.ts";
import { type OperationDeps, operationRoutes } from "./operations.ts";
import { type App, openRestServer } from "./server.ts";
import { userRoutes } from "./users.ts";
import { webhookRoutes } from "./webhooks.ts";
import { workspaceRoutes } from "./workspaces.ts";

/** The whole HTTP surface, not yet listening. */
export async function openRest(context: Context, operations: OperationDeps): Promise<App> {
  const { db, clock, config, hasher, tokens, accounts, acceptor, capabilitiesOf, connectorFor } = context;
  const { authenticate, forget } = context.authenticator;
  const app = await openRestServer({ log: context.log, authenticate });
  const parseAddress = addressParser(connectors);
  honourIdempotencyKeys(app, { db, clock, box: context.secretBox });

  authRoutes(app, { db, clock, hasher, tokens, forget, registration: config.identity.registration });
  meRoutes(app, { db, box: context.secretBox });
  apiKeyRoutes(app, { db, clock, forget });
  userRoutes(app, { db, clock, hasher, forget });
  workspaceRoutes(app, { db, clock, hasher });
  contactRoutes(app, { db, clock, parseAddress });
  addressRoutes(app, { db, clock, parseAddress });
  conversationRoutes(app, { db, clock, parseAddress, markRead, capabilitiesOf, showMessages });
  messageRoutes(app, { db, acceptor, prepare: prepareDeps(context, parseAddress), parseAddress, capabilitiesOf });
  deadLetterRoutes(app, context);
  channelAccountRoutes(app, {
    accounts,
    io: context.connectorIo,
    publicUrl: config.http.publicUrl,
    healthOf: context.healthOf,
  });
  webhookRoutes(app, {
    store: context.webhookStore,
    connectorFor,
    peekAccount: accounts.peek,
    findAccount: accounts.get,
  });
  await operationRoutes(app, operations);
  return app;
}

function prepareDeps(
  { db, clock, accounts, connectorFor }: Context,
  parseAddress: ReturnType<typeof addressParser>,
): PrepareDeps {
  return {
    clock,
    isChannel: (name) => connectorFor(name) !== undefined,
    findDirect: async (pair) => (await findDirectTo({ db, clock, parseAddress }, pair)).conversationId,
    async isAccount(workspaceId, channel, channelAccountId) {
      const account = await accounts.get(channelAccountId);
      return account?.workspaceId === workspaceId && account.channel === channel && account.status === "active";
    },
  };
}
