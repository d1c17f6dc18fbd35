import fastifySwagger, { type FastifyDynamicSwaggerOptions } from "@fastify/swagger";
import { webhookOperations } from "./event-schemas.ts";

export { fastifySwagger };

/** What the OpenAPI document says besides the routes. */
export const description: FastifyDynamicSwaggerOptions = {
  openapi: {
    openapi: "3.1.0",
    info: { title: "Chat4All", version: "1", description: "One API to talk to anyone, on any channel." },
    webhooks: webhookOperations,
    components: { securitySchemes: { bearer: { type: "http", scheme: "bearer" } } },
  },
};
