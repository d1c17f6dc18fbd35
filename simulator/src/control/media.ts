import { createReadStream } from "node:fs";
import type { FastifyInstance } from "fastify";
import { object, oneOf, optional, string } from "../fields.ts";
import { absent } from "../problem.ts";
import { channelOf, type Simulation } from "../simulation.ts";

const readExpiry = object({
  channel: string(),
  media_id: optional(string({ max: 200 })),
  what: optional(oneOf(["urls", "media"])),
});

/** `/_sim/media`: the bytes of what was sent in either direction, and their early end. */
export function serveMedia(app: FastifyInstance, simulation: Simulation): void {
  const { media } = simulation.world;

  app.get("/media/:id", (request, reply) => {
    const { id } = request.params as { id: string };
    const found = media.findAny(id);
    if (!found) throw absent(`there is no media "${id}", or it has been deleted to make room; see GET /_sim/messages`);
    const headers = { "content-type": found.mime_type, "content-length": String(found.bytes) };
    reply.headers(headers).send(createReadStream(media.pathOf(found)));
  });

  app.post("/media/expire", (request, reply) => {
    const { channel, media_id: id, what = "urls" } = readExpiry(request.body, "body");
    const { running } = channelOf(simulation, channel);
    const found = id === undefined ? undefined : media.find(channel, id);
    if (id !== undefined && !found) throw absent(`${channel} has no media "${id}"`);
    if (what === "urls") {
      running.expireUrls(id);
    } else {
      const expired = found ? [found] : [...media.list()].filter((one) => one.channel === channel);
      for (const one of expired) media.expire(one);
    }
    reply.code(204).send();
  });
}
