import type { FastifyInstance } from "fastify";
import type { InboundPayload } from "../face.ts";
import { boolean, integer, isRecord, number, object, oneOf, optional, type Reader, string } from "../fields.ts";
import { absent, invalid, Problem } from "../problem.ts";
import { accountOf, channelOf, personOf, type Simulation } from "../simulation.ts";
import { maxWaitingForInbound } from "../webhooks/webhooks.ts";

const maxTextLength = 65_536;

const identifier: Reader<string> = (value, path) =>
  string({ max: 200 })(typeof value === "number" ? String(value) : value, path);

const payloads = {
  text: object({ type: oneOf(["text"]), text: string({ max: maxTextLength }) }),
  location: object({
    type: oneOf(["location"]),
    latitude: number(-90, 90),
    longitude: number(-180, 180),
    name: optional(string({ max: 1000 })),
  }),
  reaction: object({ type: oneOf(["reaction"]), message_id: identifier, emoji: string({ min: 0, max: 40 }) }),
  file: object({
    type: oneOf(["file"]),
    content_type: string({ max: 200, pattern: /^[\w.+-]+\/[\w.+-]+/, hint: "a media type such as image/jpeg" }),
    filename: optional(string({ max: 255 })),
    caption: optional(string({ max: 1024 })),
  }),
} satisfies Record<string, Reader<InboundPayload>>;

/** A payload in the hub's shapes; a bare string is a text. */
const payload: Reader<InboundPayload> = (value, path) => {
  if (typeof value === "string") return payloads.text({ type: "text", text: value }, path);
  const type = isRecord(value) ? value.type : undefined;
  const known = Object.keys(payloads).join(", ");
  if (typeof type !== "string" || !Object.hasOwn(payloads, type)) {
    throw invalid(`${path} must be a text or an object whose type is one of ${known}`);
  }
  return payloads[type as keyof typeof payloads](value, path);
};

const readInbound = object({
  channel: string(),
  account: optional(identifier),
  from: identifier,
  name: optional(string({ max: 200 })),
  payload,
  reply_to: optional(identifier),
});

const readReceipt = object({
  provider_message_id: identifier,
  status: string({ max: 40 }),
  channel: optional(string()),
  code: optional(integer(0, 999_999)),
  title: optional(string({ max: 200 })),
  details: optional(string({ max: 1000 })),
});

const readBlock = object({
  channel: string(),
  account: optional(identifier),
  from: identifier,
  blocked: optional(boolean),
});

export function servePeople(app: FastifyInstance, simulation: Simulation): void {
  const { world } = simulation;

  app.post("/inbound", (request, reply) => {
    const input = readInbound(request.body, "body");
    const { face, running } = channelOf(simulation, input.channel);
    const person = personOf(face, input.from, "from");
    const account = accountOf(simulation, { channel: input.channel, id: input.account, person });
    if (world.webhooks.waiting >= maxWaitingForInbound) {
      throw new Problem(503, "OVERLOADED", `${world.webhooks.waiting} webhooks wait to be taken: let them drain first`);
    }
    const { name, payload, reply_to: replyTo } = input;
    reply.code(201).send(running.inbound(account, { person, name, payload, replyTo }));
  });

  app.post("/receipt", (request, reply) => {
    const { provider_message_id: id, channel, status, code, title, details } = readReceipt(request.body, "body");
    const channels = channel === undefined ? simulation.faces : [channelOf(simulation, channel).face];
    const message = channels.map((face) => world.messages.find(face.channel, id)).find(Boolean);
    if (!message) throw absent(`no platform got a message "${id}"; see GET /_sim/messages`);
    channelOf(simulation, message.channel).running.receipt(message, { status, code, title, details });
    reply.code(201).send({ provider_message_id: id, status });
  });

  app.post("/block", (request, reply) => {
    const { channel, account: id, from, blocked = true } = readBlock(request.body, "body");
    const { face, running } = channelOf(simulation, channel);
    const person = personOf(face, from, "from");
    running.block(accountOf(simulation, { channel, id, person }), person, blocked);
    reply.code(201).send({ channel, from: person, blocked });
  });
}
