import type { FastifyInstance } from "fastify";
import { object, string } from "../fields.ts";
import { settingFields } from "../settings.ts";
import { channelOf, putAccount, reset, type Simulation } from "../simulation.ts";

const readSettings = object({ channel: string(), ...settingFields });

export function serveState(app: FastifyInstance, simulation: Simulation): void {
  const { world } = simulation;

  app.get("/settings", (_request, reply) => {
    reply.send(world.settings.all());
  });

  app.post("/settings", (request, reply) => {
    const { channel, ...changes } = readSettings(request.body, "body");
    channelOf(simulation, channel).face.checkSettings(changes);
    reply.send({ channel, ...world.settings.merge(channel, changes) });
  });

  app.get("/idle", (_request, reply) => {
    const pending = world.webhooks.waitingToBeSent;
    reply.send({ idle: pending === 0, pending_webhooks: pending });
  });

  app.post("/reset", (_request, reply) => {
    reset(simulation);
    reply.code(204).send();
  });
}

/** `/_sim/accounts`: credentials are shown, since nothing here is secret. */
export function serveAccounts(app: FastifyInstance, simulation: Simulation): void {
  const { accounts } = simulation.world;

  app.get("/accounts", (_request, reply) => {
    reply.send({ data: accounts.list().map((account) => account.fields) });
  });

  app.post("/accounts", (request, reply) => {
    reply.code(201).send(putAccount(simulation, request.body).fields);
  });
}
