import type { Readable } from "node:stream";
import type { FastifyReply, FastifyRequest, RouteOptions } from "fastify";
import { type Static, type TSchema, Type } from "typebox";
import { type Operation, paramsOf } from "../../../contract/src/operation.ts";
import { ErrorBody } from "../../../contract/src/schemas.ts";
import type { ChannelAccountId, ConversationId, MessageId } from "../lib/ids.ts";
import { optionalBody } from "./json-body.ts";

type PartOf<O, Part extends string> = O extends Readonly<Record<Part, infer S extends TSchema>> ? Static<S> : unknown;
type ParamsOf<O> = O extends { readonly params: infer S extends TSchema }
  ? Static<S>
  : O extends { readonly path: infer P extends string }
    ? { [Name in NamesIn<P>]: IdAt<P, Name> }
    : never;
type IdAt<P extends string, Name extends string> = Name extends "id"
  ? P extends `/v1/conversations/{id}${string}`
    ? ConversationId
    : P extends `/v1/messages/{id}${string}`
      ? MessageId
      : P extends `/v1/channel-accounts/{id}${string}`
        ? ChannelAccountId
        : string
  : string;
type NamesIn<P extends string> = P extends `${string}{${infer Name}}${infer Rest}` ? Name | NamesIn<Rest> : never;

type RequestOf<O> = FastifyRequest & {
  readonly params: ParamsOf<O>;
  readonly query: PartOf<O, "query">;
  readonly headers: PartOf<O, "headers">;
  body: PartOf<O, "body">;
};

type Bodies<O> = O extends { readonly answers: infer A } ? A[keyof A] : never;
// biome-ignore lint/suspicious/noConfusingVoidType: a handler without a response returns nothing.
type BodyOf<S> = S extends TSchema ? Static<S> : S extends null ? undefined | void : never;
type AnswerOf<O> = O extends { readonly contentType: string } ? string | Readable : BodyOf<Bodies<O>>;

type Handler<O> = (request: RequestOf<O>, reply: FastifyReply) => Promise<AnswerOf<O>> | AnswerOf<O>;

/**
 * Adds an operation of the contract. Its handler returns the body of the response; where there is more than one success,
 * the handler also sets the status.
 */
export function route<const O extends Operation>(
  app: { route(options: never): unknown },
  operation: O,
  handle: Handler<O>,
  options: Pick<RouteOptions, "bodyLimit" | "exposeHeadRoute" | "validatorCompiler" | "serializerCompiler"> = {},
): void {
  const { method, path, query, headers, body, bodyType, isBodyOptional, answers, contentType } = operation;
  const { access, limit, admission, idempotent, shows } = operation;
  const params = paramsOf(operation);
  const statuses = Object.keys(answers).map(Number);
  app.route({
    ...options,
    method,
    url: path.replaceAll(/\{(\w+)\}/g, ":$1"),
    config: {
      access,
      ...(limit && { limit }),
      ...(admission && { admission }),
      ...(idempotent && { idempotent }),
      ...(shows && { shows }),
      ...(bodyType && { bodyType, hasSlowBody: true }),
    } as never,
    schema: {
      ...(params && { params }),
      ...(query && { querystring: query }),
      ...(headers && { headers }),
      ...(body && !bodyType && { body }),
      response: {
        ...(!contentType && Object.fromEntries(statuses.map((status) => [status, answers[status] ?? noBody]))),
        "4xx": ErrorBody,
        "5xx": ErrorBody,
      },
    },
    ...(isBodyOptional && optionalBody),
    handler(request: FastifyRequest, reply: FastifyReply) {
      if (statuses.length === 1) reply.status(statuses[0]!);
      if (contentType) reply.type(contentType);
      const answer = handle(request as RequestOf<O>, reply);
      // A promise, because Fastify would wait for `reply.send` after a handler that returns nothing.
      return answer instanceof Promise ? answer : Promise.resolve(answer);
    },
  } as RouteOptions as never);
}

const noBody = Type.Null();
