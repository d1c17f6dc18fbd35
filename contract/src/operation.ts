import { type TSchema, Type } from "typebox";
import type { Access } from "./access.ts";
import { uuid } from "./schemas.ts";

export type ErrorStatus = 400 | 401 | 403 | 404 | 409 | 413 | 415 | 421 | 422 | 429 | 503;

/** What an operation takes and returns. The name under which it is exported is its `operationId`. */
export interface OperationShape {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  readonly access: Access;
  /** The path parameters; default: a UUID for each. */
  readonly params?: TSchema;
  readonly query?: TSchema;
  readonly headers?: TSchema;
  readonly body?: TSchema;
  /** Of the request; default: JSON. A form is streamed: its route reads it, and checks it as it arrives. */
  readonly bodyType?: "multipart/form-data";
  /** No body counts as `{}`. */
  readonly isBodyOptional?: true;
  /**
   * The body of each success or redirect. `null`: none. A status from 400 on has its own body instead of the
   * error's.
   */
  readonly answers: Readonly<Record<number, TSchema | null>>;
  /** Of the responses; default: JSON. The schema is then that of the text, or of one of its lines. */
  readonly contentType?: "text/plain" | "application/x-ndjson";
  /** In addition to 400, 401, 403, 404, 429 and 503 where the operation can return them: see `document.ts`. */
  readonly errors?: readonly ErrorStatus[];
  /** Where requests are not counted by the rule: `address` also counts a `GET`, `none` counts nothing. */
  readonly limit?: "address" | "none";
  /**
   * `always`: served however busy the hub is; `streams`: only a request for an event stream. `uncounted`: refused by a busy
   * hub, and does not make it look busy.
   */
  readonly admission?: "always" | "streams" | "uncounted";
  /**
   * It takes an `Idempotency-Key`. Keys belong to the caller; of a public operation, to the value of this field of the
   * body, ignoring case.
   */
  readonly idempotent?: true | { readonly by: string };
  /**
   * Of an operation with a write scope: what its response shows to an API key without the read scope, beside ids and what
   * the request said. A field of a field is written `field.inner`, also inside an array. `all`: the request made it.
   */
  readonly shows?: "all" | readonly string[];
}

export type Operation = OperationShape & { readonly id: string; readonly tag: string };

/** Names operations by their keys, and puts them under one heading of the document. */
export function operations<const T extends Readonly<Record<string, OperationShape>>>(tag: string, shapes: T) {
  const named = Object.entries(shapes).map(([id, shape]) => [id, { ...shape, id, tag }]);
  return Object.fromEntries(named) as { readonly [Id in keyof T]: T[Id] & Pick<Operation, "id" | "tag"> };
}

/** The path parameters of an operation; undefined for none. */
export function paramsOf({ path, params }: Pick<OperationShape, "path" | "params">): TSchema | undefined {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
  if (names.length === 0) return undefined;
  return params ?? Type.Object(Object.fromEntries(names.map((name) => [name, uuid])));
}

const changing = new Set(["POST", "PUT", "PATCH", "DELETE"]);

/** Whether requests count against the limits of their caller or IP address: what only reads does not. */
export function isCounted(method: string, limit: OperationShape["limit"]): boolean {
  if (limit === "none") return false;
  return changing.has(method) || (limit === "address" && (method === "GET" || method === "HEAD"));
}
