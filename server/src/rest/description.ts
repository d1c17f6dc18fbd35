import fastifySwagger, { type FastifyDynamicSwaggerOptions } from "@fastify/swagger";
import { version } from "../lib/version.ts";

export { fastifySwagger };

const about =
  "One API to talk to anyone, on any channel. Lists come in pages: continue with `cursor` = `next_cursor` while that is not " +
  "null. A page may hold fewer items than `limit`, because it ends at about 1 MiB; it holds one at least when there is one.";

/** What the OpenAPI document says besides the routes. */
export const description: FastifyDynamicSwaggerOptions = {
  openapi: {
    openapi: "3.1.0",
    info: { title: "Chat4All", version, description: about },
    components: { securitySchemes: { bearer: { type: "http", scheme: "bearer" } } },
  },
};
