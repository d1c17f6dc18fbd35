import type { FastifyInstance } from "fastify";
import type { Face } from "../face.ts";
import { integerText, object, optional, string } from "../fields.ts";
import type { MessageQuery } from "../messages.ts";
import { invalid } from "../problem.ts";
import { channelOf, personOf, type Simulation } from "../simulation.ts";

const defaultLimit = 1_000;
const maxLimit = 100_000;

const readQuery = object({
  channel: optional(string()),
  to: optional(string()),
  limit: optional(integerText(1, maxLimit)),
  after: optional(integerText(0, Number.MAX_SAFE_INTEGER)),
});

/** `GET /_sim/messages`: what the platforms received, oldest first; `next_after` continues where a response ended. */
export function serveMessages(app: FastifyInstance, simulation: Simulation): void {
  app.get("/messages", (request, reply) => {
    const { messages } = simulation.world;
    const { messages: found, nextAfter } = messages.list(toQuery(simulation, request.query));
    const data = found.map((message) => message.json).join(",");
    reply
      .header("content-type", "application/json; charset=utf-8")
      .send(`{"data":[${data}],"next_after":${nextAfter},"forgotten":${messages.forgotten}}`);
  });
}

export function serveSignals(app: FastifyInstance, simulation: Simulation): void {
  app.get("/signals", (request, reply) => {
    const { channel, to } = toQuery(simulation, request.query);
    reply.send({ data: simulation.world.signals.list({ channel, to }) });
  });
}

function toQuery(simulation: Simulation, query: unknown): MessageQuery {
  const { channel, to, limit = defaultLimit, after = 0 } = readQuery(query, "query");
  const named = channel === undefined ? undefined : channelOf(simulation, channel).face;
  if (to === undefined) return { channel, to, limit, after };
  const face = named ?? faceOfAddress(simulation, to);
  return { channel: face.channel, to: personOf(face, to, "to"), limit, after };
}

function faceOfAddress(simulation: Simulation, address: string): Face {
  const face = simulation.faces.find((one) => address.startsWith(`${one.channel}:`));
  if (face) return face;
  const fits = simulation.faces.filter((one) => one.person(address) !== undefined);
  if (fits.length === 1) return fits[0]!;
  throw invalid(`to "${address}" fits ${fits.length} channels: name the channel too`);
}
