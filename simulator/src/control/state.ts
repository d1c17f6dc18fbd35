import type { FastifyInstance } from "fastify";
import { callKinds, type Fault, type Faults, faultNames } from "../faults.ts";
import { boolean, integer, number, object, oneOf, optional, string } from "../fields.ts";
import { invalid } from "../problem.ts";
import { settingFields } from "../settings.ts";
import { channelOf, personOf, putAccount, reset, type Simulation } from "../simulation.ts";

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

const readOrder = object({
  channel: string(),
  fault: oneOf(faultNames),
  probability: optional(number(0, 1)),
  count: optional(integer(1, 1_000_000_000)),
  delay_ms: optional(integer(0, 3_600_000)),
  for_ms: optional(integer(1, 86_400_000)),
  to: optional(string()),
  call: optional(oneOf(callKinds)),
  retry_after_s: optional(integer(0, 86_400)),
  code: optional(integer(0, 999_999)),
  destroy: optional(boolean),
});

export function serveFaults(app: FastifyInstance, simulation: Simulation): void {
  const { faults } = simulation.world;

  app.post("/faults", (request, reply) => {
    const order = readOrder(request.body, "body");
    const { face } = channelOf(simulation, order.channel);
    if (!face.faults.includes(order.fault)) {
      throw invalid(`${face.channel} has no fault ${order.fault}; it has ${face.faults.join(", ")}`);
    }
    const to = order.to === undefined ? undefined : personOf(face, order.to, "to");
    reply.code(201).send(show(faults, faults.add({ ...order, to })));
  });

  app.get("/faults", (_request, reply) => {
    reply.send({ data: faults.list().map((fault) => show(faults, fault)) });
  });

  app.delete("/faults", (_request, reply) => {
    faults.clear();
    reply.code(204).send();
  });
}

function show(faults: Faults, fault: Fault): unknown {
  const { endsAt: _, chance: __, ...shown } = fault;
  return { ...shown, active: faults.isActive(fault) };
}
