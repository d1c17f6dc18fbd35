import type { FastifyInstance } from "fastify";
import { putAccount, type Simulation } from "../simulation.ts";

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
