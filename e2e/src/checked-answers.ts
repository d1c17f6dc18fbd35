/**
 * Holds the JSON responses that tests get from hubs against contract/openapi.json. The first call of `checkAnswersOf` wraps
 * `fetch` of this process.
 */
import { readScopeOf } from "../../contract/src/access.ts";
import { contract } from "../../contract/src/contract.ts";
import type { Operation } from "../../contract/src/operation.ts";
import { openApi, pointerTo, schemaError } from "./openapi.ts";
import { wrongTimes } from "./times.ts";

/** Larger responses are not checked, because reading them twice costs too much. */
const maxBodyBytes = 1024 * 1024;
const apiKeyPrefix = "c4a_";
const json = "application/json";

type Fetch = typeof globalThis.fetch;

/** Those without a parameter first: they win. */
const places = contract
  .map((operation) => {
    const pattern = operation.path.replaceAll(/\{\w+\}/g, "[^/]+").replaceAll(".", "\\.");
    return { operation, pattern: new RegExp(`^${pattern}$`) };
  })
  .sort((a, b) => a.operation.path.split("{").length - b.operation.path.split("{").length);

let installed: ReturnType<typeof openAnswerCheck> | null = null;

/** From now on `fetch` throws when the hub at this URL gives a response that the document does not describe. */
export function checkAnswersOf(url: string): void {
  if (installed === null) {
    installed = openAnswerCheck(globalThis.fetch);
    globalThis.fetch = installed.fetch;
  }
  installed.add(url);
}

/** Throws for the wrong responses since the last call, because what called `fetch` may have caught its error. */
export function requireValidAnswers(): void {
  const errors = installed?.takeErrors() ?? [];
  if (errors.length > 0)
    throw new AggregateError(errors, `${errors.length} responses were wrong. The first: ${errors[0]!.message}`);
}

export function openAnswerCheck(fetch: Fetch) {
  const origins = new Set<string>();
  /** The scopes of the API keys that were created meanwhile. */
  const scopesOfKeys = new Map<string, readonly string[]>();
  const errors: Error[] = [];

  function isShortened({ access, shows }: Operation, status: number, key: string | null): boolean {
    const needed = readScopeOf(access);
    if (needed === null || shows === "all" || status >= 300 || key === null) return false;
    const scopes = scopesOfKeys.get(key) ?? [];
    return !scopes.includes("*") && !scopes.includes(needed);
  }

  async function check(method: string, answer: Response, key: string | null): Promise<void> {
    const { origin, pathname } = new URL(answer.url);
    if (!origins.has(origin) || answer.redirected) return;
    const operation = findOperation(method, pathname);
    const body = operation === null ? undefined : await readJson(answer);
    if (operation === null || body === undefined) return;
    const { status } = answer;
    if (operation.id === "createApiKey" && status === 201) {
      const created = body as { key: string; scopes: string[] };
      scopesOfKeys.set(created.key, created.scopes);
    }
    const problem = findProblem(operation, status, body, isShortened(operation, status, key));
    if (problem === null) return;
    const text = `${method} ${pathname} returned ${status}, and contract/openapi.json says otherwise: ${problem}`;
    const error = new Error(text);
    errors.push(error);
    throw error;
  }

  return {
    add: (url: string): void => void origins.add(new URL(url).origin),
    takeErrors: () => errors.splice(0),
    fetch: (async (input, init) => {
      const answer = await fetch(input, init);
      const request = input instanceof Request ? input : null;
      const bearer = new Headers(init?.headers ?? request?.headers).get("authorization")?.replace(/^bearer /i, "");
      const key = bearer?.startsWith(apiKeyPrefix) ? bearer : null;
      await check((init?.method ?? request?.method ?? "GET").toUpperCase(), answer, key);
      return answer;
    }) satisfies Fetch as Fetch,
  };
}

function findOperation(method: string, path: string): Operation | null {
  return places.find(({ operation, pattern }) => operation.method === method && pattern.test(path))?.operation ?? null;
}

/** Undefined when there is no JSON, or not all of it arrives: the caller finds out itself. */
async function readJson(answer: Response): Promise<unknown> {
  const isJson = answer.headers.get("content-type")?.startsWith(json) ?? false;
  // Without a length it is a stream.
  const sizeBytes = Number(answer.headers.get("content-length") ?? Number.POSITIVE_INFINITY);
  if (!isJson || sizeBytes > maxBodyBytes) return undefined;
  const text = await answer
    .clone()
    .text()
    .catch(() => "");
  return text === "" ? undefined : JSON.parse(text);
}

function findProblem(operation: Operation, status: number, body: unknown, isShortened: boolean): string | null {
  const schema = schemaOf(operation, status);
  if (schema === null) return "it has no JSON body for this status";
  const seen = isShortened ? schema : schema.replace(/^(#\/components\/schemas\/)Partial/, "$1");
  return schemaError(seen, body) ?? wrongTimes(body, "body")[0] ?? null;
}

/** A JSON pointer into the document. */
function schemaOf({ path, method }: Operation, status: number): string | null {
  const place = ["paths", path, method.toLowerCase(), "responses", String(status)];
  const response = openApi.paths[path]![method.toLowerCase()]!.responses[status];
  // Any operation may fail in a way that is not its own.
  if (response === undefined) return status < 400 ? null : pointerTo("components", "schemas", "ErrorBody");
  if (response.$ref !== undefined) return `${response.$ref}${pointerTo("content", json, "schema").slice(1)}`;
  const { schema } = response.content?.[json] ?? {};
  return schema === undefined ? null : (schema.$ref ?? pointerTo(...place, "content", json, "schema"));
}
