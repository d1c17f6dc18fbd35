import type { FastifyInstance } from "fastify";
import type { InboundFile } from "../face.ts";
import { boolean, integer, isRecord, number, object, oneOf, optional, type Reader, string } from "../fields.ts";
import { generate } from "../media/generate.ts";
import { absent, invalid, Problem } from "../problem.ts";
import { accountOf, channelOf, personOf, type Simulation } from "../simulation.ts";
import { maxWaitingForInbound } from "../webhooks/webhooks.ts";
import type { World } from "../world.ts";

const maxTextLength = 65_536;

const identifier: Reader<string> = (value, path) =>
  string({ max: 200 })(typeof value === "number" ? String(value) : value, path);

/** Largest file that a person sends: as it is given, and generated. */
const maxContentBytes = 16 << 20;
const maxGeneratedBytes = 256 << 20;

const maxContentLength = Math.ceil(maxContentBytes / 3) * 4;
const base64 = /^[A-Za-z0-9+/]*={0,2}$/;
const contentHint = `at most ${maxContentBytes} bytes in base64`;

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
    content: optional(string({ min: 0, max: maxContentLength, pattern: base64, hint: contentHint })),
    size: optional(integer(0, maxGeneratedBytes)),
  }),
} satisfies Record<string, Reader<unknown>>;

type GivenPayload = { [K in keyof typeof payloads]: ReturnType<(typeof payloads)[K]> }[keyof typeof payloads];

/** A payload in the hub's shapes; a bare string is a text. */
const payload: Reader<GivenPayload> = (value, path) => {
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

  app.post("/inbound", { bodyLimit: maxContentLength + (1 << 20) }, async (request, reply) => {
    const input = readInbound(request.body, "body");
    const { face, running } = channelOf(simulation, input.channel);
    const person = personOf(face, input.from, "from");
    const account = accountOf(simulation, { channel: input.channel, id: input.account, person });
    if (world.webhooks.waiting >= maxWaitingForInbound) {
      throw new Problem(503, "OVERLOADED", `${world.webhooks.waiting} webhooks wait to be taken: let them drain first`);
    }
    const { name, reply_to: replyTo } = input;
    const payload = input.payload.type === "file" ? await withUpload(world, input.payload) : input.payload;
    try {
      return reply.code(201).send(await running.inbound(account, { person, name, payload, replyTo }));
    } finally {
      if (payload.type === "file") world.media.discard([payload.upload]);
    }
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

async function withUpload(
  { media }: World,
  { content, size, ...file }: GivenPayload & { type: "file" },
): Promise<InboundFile> {
  if (content !== undefined && size !== undefined) throw invalid("payload takes content or size, not both");
  const bytes = content === undefined ? generate(file.content_type, size) : [Buffer.from(content, "base64")];
  return { ...file, upload: await media.write(bytes, maxGeneratedBytes) };
}
