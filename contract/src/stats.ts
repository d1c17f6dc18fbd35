import { Type } from "typebox";
import { operations } from "./operation.ts";
import { closed, named, nullable, time } from "./schemas.ts";

const count = Type.Integer();
const share = (of: string) => nullable(Type.Number(), { description: `From 0 to 1: ${of}. Null without deliveries.` });

export const statsPeriods = ["24h", "7d", "30d"] as const;

const channelDeliveries = Type.Object({
  channel: Type.String({ description: "`app` is the hub's own." }),
  total: count,
  accepted: count,
  in_transit: count,
  sent: count,
  delivered: count,
  read: count,
  failed: count,
  delivered_rate: share("those that reached the recipient, as far as the channel reports it"),
  read_rate: share("those that were read, as far as the channel reports it"),
  failed_rate: share("those that failed"),
});

const Stats = named(
  "Stats",
  Type.Object({
    period: Type.Enum(statsPeriods),
    since: time,
    until: {
      ...time,
      description:
        "Messages and deliveries are counted up to here: now, or in a very busy workspace the last full hour that was counted.",
    },
    messages: Type.Object({
      total: count,
      per_minute: Type.Number({ description: "On average." }),
      by_channel: Type.Array(
        Type.Object({
          direction: Type.Enum(["inbound", "outbound"]),
          channel: nullable(Type.String(), {
            description: "On which it came; null when a program or a user wrote it.",
          }),
          count,
        }),
      ),
    }),
    deliveries: Type.Object({
      total: count,
      by_channel: Type.Array(channelDeliveries, {
        description: "By the status that they have reached; of older ones as of a day or a week after.",
      }),
    }),
    files: Type.Object({ count, bytes: Type.Integer() }, { description: "As they are now, with uploads under way." }),
    llm_tokens: Type.Object(
      {
        hub_key: Type.Integer({ description: "With the key of the hub." }),
        own_keys: Type.Integer({ description: "With users' own keys." }),
      },
      { description: "Used by language models, on the days of the period (UTC)." },
    ),
    tasks: Type.Object(
      { pending: count, running: count, completed: count, failed: count, cancelled: count },
      { description: "Created in the period: the newest 100,000." },
    ),
  }),
);

export const stats = operations("Statistics", {
  getStats: {
    method: "GET",
    path: "/v1/stats",
    summary: "Count what the workspace has done",
    description:
      "Messages, deliveries and tasks of the period, which begins with a full hour, and files as they are now.",
    access: { role: "admin", scope: "stats:read" },
    query: Type.Object({ period: Type.Optional(Type.Enum(statsPeriods, { default: "24h" })) }, closed),
    answers: { 200: Stats },
  },
});
