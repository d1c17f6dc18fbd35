import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

interface ChatMessage {
  role: string;
  content: string;
}

/** A request of the hub to the language model. */
export interface ModelRequest {
  path: string;
  headers: IncomingHttpHeaders;
  body: {
    model: string;
    messages: ChatMessage[];
    max_tokens?: number;
    max_completion_tokens?: number;
    response_format?: { type: string };
  } & Record<string, unknown>;
}

export type ModelBehaviour = (request: ModelRequest, response: ServerResponse) => void;

/** What the endpoint knows of itself; without these it takes every key and model, and texts of any length. */
interface TestModelOptions {
  keys?: readonly string[];
  models?: readonly string[];
  contextTokens?: number;
}

/**
 * A language model behind the chat completions of OpenAI's API. It summarizes by the first sentence of a document, and
 * responds to a queue of other behaviours first.
 */
export async function startTestLanguageModel(options: TestModelOptions = {}) {
  const requests: ModelRequest[] = [];
  const queue: ModelBehaviour[] = [];
  const summarizes = says(firstSentence);
  let usual = summarizes;
  const server = createServer(async (incoming, response) => {
    const sent = await text(incoming).catch(() => null);
    if (sent === null) return;
    const request = { path: incoming.url!, headers: incoming.headers, body: JSON.parse(sent || "{}") };
    requests.push(request);
    const behaviour = refusal(request, options) ?? queue.shift() ?? usual;
    behaviour(request, response);
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    /** As in LLM_BASE_URL. */
    url: `http://127.0.0.1:${port}/v1`,
    requests,
    /** What the next requests get instead of a summary. */
    next: (...behaviours: ModelBehaviour[]) => void queue.push(...behaviours),
    summarizes,
    always(behaviour: ModelBehaviour) {
      usual = behaviour;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export type TestLanguageModel = Awaited<ReturnType<typeof startTestLanguageModel>>;

function refusal({ path, headers, body }: ModelRequest, options: TestModelOptions): ModelBehaviour | null {
  if (path !== "/v1/chat/completions") return responds(404, { error: { message: `Invalid URL (POST ${path})` } });
  const key = headers.authorization?.replace(/^Bearer /, "");
  if (options.keys !== undefined && !options.keys.includes(key ?? "")) return invalidKey;
  if (options.models !== undefined && !options.models.includes(body.model)) return unknownModel;
  const bytes = Buffer.byteLength(body.messages.map(({ content }) => content).join(""));
  return bytes / 4 > (options.contextTokens ?? Number.POSITIVE_INFINITY) ? contextExceeded : null;
}

/** The text between the delimiters of the last document that a request has. */
export function documentOf({ body }: ModelRequest): string {
  const prompt = body.messages.findLast(
    ({ content }) => /<document-\w+>/.test(content) && !content.includes("stands between"),
  );
  const found = /<document-(\w+)>\n([\s\S]*)\n<\/document-\1>/.exec(prompt?.content ?? "");
  if (found === null) throw new Error("The request has no document.");
  return found[2]!;
}

function firstSentence(request: ModelRequest): string {
  const [sentence = ""] = /[^.]*\.?/.exec(documentOf(request).replaceAll(/\s+/g, " ").trim()) ?? [];
  return JSON.stringify({ summary: sentence, key_points: [sentence] });
}

/** A completion with this content. */
export function says(
  content: string | ((request: ModelRequest) => string),
  more: { finish?: string; usage?: null | object; refusal?: string } = {},
): ModelBehaviour {
  return (request, response) => {
    const said = typeof content === "string" ? content : content(request);
    const input = Math.ceil(JSON.stringify(request.body.messages).length / 4);
    const output = Math.ceil(said.length / 4);
    const usage = { prompt_tokens: input, completion_tokens: output, total_tokens: input + output };
    const message = { role: "assistant", content: said, refusal: more.refusal ?? null };
    const choice = { index: 0, message, logprobs: null, finish_reason: more.finish ?? "stop" };
    const body = {
      id: "chatcmpl-test",
      object: "chat.completion",
      created: 1_780_000_000,
      model: request.body.model,
      choices: [choice],
      ...(more.usage === null ? {} : { usage: more.usage ?? usage }),
    };
    responds(200, body)(request, response);
  };
}

export function responds(status: number, body: object | string, headers: Record<string, string> = {}): ModelBehaviour {
  return (_request, response) => {
    const content = typeof body === "string" ? body : JSON.stringify(body);
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(content);
  };
}

/** In the form of OpenAI's errors. */
export function refuses(status: number, code: string | null, message: string, more: object = {}): ModelBehaviour {
  return responds(status, { error: { message, type: "invalid_request_error", param: null, code, ...more } });
}

export function rateLimited(retryAfterSeconds: number): ModelBehaviour {
  const body = {
    message: "Rate limit reached for requests",
    type: "requests",
    param: null,
    code: "rate_limit_exceeded",
  };
  return responds(
    429,
    { error: body },
    {
      "retry-after": String(retryAfterSeconds),
      "x-ratelimit-limit-requests": "60",
      "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-reset-requests": `${retryAfterSeconds}s`,
    },
  );
}

const serverError = { type: "server_error", param: null, code: null };
export const fails = responds(500, { error: { ...serverError, message: "The server had an error." } });
export const isOverloaded = responds(503, { error: { ...serverError, message: "The engine is currently overloaded" } });
export const noCredit = refuses(429, "insufficient_quota", "You exceeded your current quota, please check your plan.");
/** The real one quotes the key too. */
export const invalidKey: ModelBehaviour = (request, response) =>
  refuses(401, "invalid_api_key", `Incorrect API key provided: ${request.headers.authorization}.`)(request, response);
export const unknownModel: ModelBehaviour = (request, response) =>
  refuses(404, "model_not_found", `The model \`${request.body.model}\` does not exist.`)(request, response);
export const contextExceeded = refuses(
  400,
  "context_length_exceeded",
  "This model's maximum context length is 8192 tokens. Please reduce the length of the messages.",
);
/** As the content filter of some endpoints responds. */
export const isFiltered = says("", { finish: "content_filter" });
export const cutsConnection: ModelBehaviour = (_request, response) => {
  response.writeHead(200, { "content-type": "application/json", "content-length": "1000" }).write('{"choices":');
  response.destroy();
};
/** Never responds. */
export const hangs: ModelBehaviour = () => {};
