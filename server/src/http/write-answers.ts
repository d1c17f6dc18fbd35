import { isDeepStrictEqual } from "node:util";
import type { FastifyReply, FastifyRequest } from "fastify";
import { readScopeOf } from "../../../contract/src/access.ts";
import { hasScope } from "../credentials/credentials.ts";
import { isObject } from "../lib/json.ts";
import type { App } from "./app.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /**
     * Of a route with a write scope: what of its response is the outcome of the request, and not something that was there
     * before. A field of a field is written `field.inner`, also inside an array. `all` of it: what the request made is new.
     */
    shows?: "all" | readonly string[];
  }
}

/**
 * A write scope does not read: for an API key without the read scope of the resource, the response of a write has only the
 * ids, what the request itself contained, and what the route `shows`. Call it before the routes are added.
 */
export function limitWriteAnswers(app: App): void {
  app.addHook("onRoute", (route) => {
    const needed = readScopeOf(route.config?.access ?? "public");
    const shows = route.config?.shows ?? [];
    if (needed === null || shows === "all") return;

    function limit(request: FastifyRequest, reply: FastifyReply, answer: unknown, done: Done): void {
      if (reply.statusCode >= 300 || !isObject(answer) || hasScope(request.principal, needed!)) {
        done(null, answer);
        return;
      }
      reply.serializer(JSON.stringify);
      done(null, limitAnswer(answer, isObject(request.body) ? request.body : {}, shows as readonly string[]));
    }
    route.preSerialization = [route.preSerialization ?? [], limit].flat();
  });
}

type Done = (error: null, answer: unknown) => void;
type Fields = Readonly<Record<string, unknown>>;

function limitAnswer(answer: Fields, said: Fields, shows: readonly string[]): Fields {
  const shown: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(answer)) {
    const inner = shows.filter((path) => path.startsWith(`${name}.`)).map((path) => path.slice(name.length + 1));
    if (shows.includes(name) || isId(name, value) || (name in said && isDeepStrictEqual(said[name], value))) {
      shown[name] = value;
    } else if (inner.length > 0) {
      const limited = (one: unknown) => (isObject(one) ? limitAnswer(one, {}, inner) : null);
      shown[name] = Array.isArray(value) ? value.map(limited) : limited(value);
    }
  }
  return shown;
}

function isId(name: string, value: unknown): boolean {
  return name.endsWith("_id") && (typeof value === "string" || value === null);
}
