import { Type } from "typebox";
import { channels, credentialFields } from "./channels.ts";
import { freeForm } from "./free-form.ts";
import { operations } from "./operation.ts";
import { closed, line, named, nullable, pageOf, pageQuery, time, uuid } from "./schemas.ts";

/**
 * `disabled`: it neither sends nor receives, and keeps its data. `needs_attention`: the platform refuses it. It
 * receives, and messages to be sent over it are accepted and wait.
 */
export const accountStatuses = ["active", "disabled", "needs_attention"] as const;

const channel = named("Channel", Type.Enum(channels));

export const ChannelAccountStatus = named(
  "ChannelAccountStatus",
  Type.Enum([...accountStatuses], {
    description:
      "`disabled`: it neither sends nor receives. `needs_attention`: the platform refuses the account. It receives, and " +
      "messages to be sent over it wait until the account is repaired: with new credentials, or with `POST …/verify` once " +
      "the platform accepts the old ones again.",
  }),
);

/** Unknown fields are refused. */
const ChannelAccountSettings = named(
  "ChannelAccountSettings",
  Type.Object(
    {
      base_url: Type.Optional(
        Type.String({ maxLength: 500, description: "The base URL of the platform's API, if it is not the usual one." }),
      ),
      api_version: Type.Optional(
        Type.String({ pattern: "^v\\d{1,3}\\.\\d{1,3}$", description: "The version of the platform's API." }),
      ),
      verification_template: Type.Optional(
        Type.Object(
          {
            name: Type.String({ minLength: 1, maxLength: 512 }),
            language: Type.String({ minLength: 2, maxLength: 20 }),
          },
          {
            ...closed,
            description:
              "The template for one-time codes to people who have not written recently. Its only parameter is the code.",
          },
        ),
      ),
      rate_per_second: Type.Optional(
        Type.Number({ exclusiveMinimum: 0, maximum: 100_000, description: "Requests a second to the platform." }),
      ),
    },
    closed,
  ),
  { verification_template: { name: "one_time_code", language: "en_US" }, rate_per_second: 80 },
);

const PlatformResponse = named(
  "PlatformResponse",
  Type.Object({ ok: Type.Boolean(), detail: Type.String({ description: "What the platform responded." }) }),
  { ok: true, detail: "The platform accepts the credentials." },
);

const webhook = {
  ...PlatformResponse,
  description:
    "Whether the webhook is set at the platform. `detail` also names who received the platform's webhooks until now, if it " +
    "was another program or channel account.",
};

const accountFields = {
  channel_account_id: uuid,
  channel: Type.String(),
  name: Type.String(),
  status: ChannelAccountStatus,
  attention: nullable(
    Type.Object({
      reason: Type.String({ description: "`CREDENTIALS_INVALID` or `ACCOUNT_RESTRICTED`." }),
      detail: Type.String({ description: "What the platform responded." }),
      since: time,
    }),
    { description: "Why the account needs attention; null unless it does." },
  ),
  webhook_url: Type.String({ description: "Where the platform must send its webhooks." }),
  settings: ChannelAccountSettings,
  external_id: Type.String({ description: "The platform's id of the number or the bot." }),
  created_at: time,
};

const example = {
  channel_account_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c",
  channel: "telegram",
  name: "Support bot",
  status: "active" as const,
  attention: null,
  webhook_url: "https://chat.example.com/webhooks/telegram/0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c",
  settings: {},
  external_id: "700000001",
  created_at: "2026-11-29T12:00:00.000Z",
};

const ChannelAccount = named("ChannelAccount", Type.Object(accountFields), example);

const ConnectedChannelAccount = named("ConnectedChannelAccount", Type.Object({ ...accountFields, webhook }), {
  ...example,
  webhook: { ok: true, detail: "Webhook was set" },
});

const Health = named(
  "ChannelAccountHealth",
  Type.Object({
    status: ChannelAccountStatus,
    breaker: Type.Enum(["closed", "open", "half_open"], {
      description:
        "`open`: the platform failed too often, and nothing is sent to it for a while. `half_open`: one request tries whether " +
        "it works again.",
    }),
    last_error: nullable(Type.Object({ detail: Type.String(), at: time }), {
      description: "The last failure of the platform or the credentials; null when there was none since the start.",
    }),
    rate_per_second: Type.Number({ description: "The limit in force, in requests a second." }),
    in_flight: Type.Integer({ description: "Requests to the platform that have no response yet." }),
    parked_lanes: Type.Integer({
      description: "Addresses whose messages wait for their next attempt, or for the account to be active again.",
    }),
    pending: Type.Integer({ description: "Deliveries still to be sent." }),
  }),
  {
    status: "active",
    breaker: "closed",
    last_error: null,
    rate_per_second: 80,
    in_flight: 1,
    parked_lanes: 0,
    pending: 3,
  },
);

const credentials = freeForm(
  { maxBytes: 16 * 1024, maxValues: 20, maxDepth: 1 },
  `By channel: ${Object.entries(credentialFields)
    .map(([name, fields]) => `${name} {${fields.join(", ")}}`)
    .join(" · ")}`,
);

const verify = Type.Optional(
  Type.Boolean({
    default: true,
    description: "False: store the credentials without asking the platform, and leave its webhook as it is.",
  }),
);

const settings = Type.Optional(ChannelAccountSettings);

const NewChannelAccount = named(
  "NewChannelAccount",
  Type.Object({ channel, name: line(200), credentials, settings, verify }, closed),
  {
    channel: "telegram",
    name: "Support bot",
    credentials: { bot_token: "700000001:token-from-BotFather", secret_token: "any-text-of-your-own" },
  },
);

const ChannelAccountChange = named(
  "ChannelAccountChange",
  Type.Object(
    {
      name: Type.Optional(line(200)),
      status: Type.Optional(
        Type.Enum(["active", "disabled"], { description: "Only the platform's response sets `needs_attention`." }),
      ),
      credentials: Type.Optional(credentials),
      settings,
      verify,
    },
    { ...closed, minProperties: 1 },
  ),
  { name: "Sales bot", status: "disabled" },
);

const read = { role: "agent", scope: "channel-accounts:read" } as const;
const write = { role: "admin", scope: "channel-accounts:write" } as const;

/** The numbers and bots of the workspace. Agents see them, admins connect them. */
export const channelAccounts = operations("Channel accounts", {
  createChannelAccount: {
    method: "POST",
    path: "/v1/channel-accounts",
    summary: "Connect a number or a bot",
    description:
      "The credentials are stored encrypted and never shown again. The hub sets the webhook at the platform; `webhook` says " +
      "whether that worked. If not, the account exists all the same: retry with `POST …/verify`. With credentials that the " +
      "platform refuses the response is 422, and nothing is stored. With `verify: false` the hub does not call the platform.",
    access: write,
    idempotent: true,
    shows: "all",
    body: NewChannelAccount,
    answers: { 201: ConnectedChannelAccount },
    errors: [409, 422],
  },
  listChannelAccounts: {
    method: "GET",
    path: "/v1/channel-accounts",
    summary: "List channel accounts, newest first",
    access: read,
    query: Type.Object({ ...pageQuery, channel: Type.Optional(channel) }, closed),
    answers: { 200: pageOf(ChannelAccount) },
  },
  getChannelAccount: {
    method: "GET",
    path: "/v1/channel-accounts/{id}",
    summary: "Get a channel account",
    access: read,
    answers: { 200: ChannelAccount },
  },
  updateChannelAccount: {
    method: "PATCH",
    path: "/v1/channel-accounts/{id}",
    summary: "Update a channel account",
    description:
      "- `settings` are replaced as a whole. Credentials that you leave out stay.\n" +
      "- New credentials must be for the same number or bot. They make an account active that needed attention, and the " +
      "waiting messages are sent.\n" +
      "- To change `settings.base_url`, or to remove it by leaving it out, send all credentials again, because they are sent " +
      "to that URL. 409 when it was changed at the same moment.\n" +
      "- The hub asks the platform about new credentials, and about the stored ones before an account that needs attention " +
      "or is disabled becomes active. If the platform refuses them, the response is 422 and nothing changes.",
    access: write,
    body: ChannelAccountChange,
    answers: { 200: ChannelAccount },
    errors: [409, 422],
  },
  deleteChannelAccount: {
    method: "DELETE",
    path: "/v1/channel-accounts/{id}",
    summary: "Disconnect a channel account",
    description:
      "Its credentials are erased. Messages that still wait to be sent over it fail with `CHANNEL_ACCOUNT_GONE`.",
    access: write,
    answers: { 204: null },
  },
  verifyChannelAccount: {
    method: "POST",
    path: "/v1/channel-accounts/{id}/verify",
    summary: "Verify the credentials of a channel account",
    description:
      "Asks the platform whether it accepts the credentials. If it does, the hub sets the webhook at the platform, and an " +
      "account that needed attention is active again. If the platform refuses the token, the account needs attention. " +
      "Safe to repeat.",
    access: write,
    shows: "all",
    answers: {
      200: named("ChannelAccountVerification", Type.Object({ ...PlatformResponse.properties, webhook })),
    },
  },
  getChannelAccountHealth: {
    method: "GET",
    path: "/v1/channel-accounts/{id}/health",
    summary: "Get the health of a channel account",
    description: "How sending over the account goes right now.",
    access: read,
    answers: { 200: Health },
  },
});
