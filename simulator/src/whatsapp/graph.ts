import type { FastifyInstance, FastifyRequest } from "fastify";
import { type Answer, takeCall } from "../calls.ts";
import { type Fields, readFields, takeRawBodies, UnreadableBody } from "../http/body.ts";
import type { WhatsAppAccount } from "./account.ts";
import { badParameter, badToken, GraphError, toAnswer, unknownObject } from "./graph-error.ts";
import { configureNumber, listMessageTemplates, listSubscribedApps, readNumber, subscribeApp } from "./objects.ts";
import { postMessages } from "./send.ts";
import type { WhatsAppState } from "./state.ts";

export interface GraphCall {
  state: WhatsAppState;
  account: WhatsAppAccount;
  fields: Fields;
}

interface GraphMethod {
  verb: string;
  object: "phone_number_id" | "waba_id";
  edge: string | undefined;
  run(call: GraphCall): Answer | Promise<Answer>;
}

const methods: readonly GraphMethod[] = [
  { verb: "POST", object: "phone_number_id", edge: "messages", run: postMessages },
  { verb: "GET", object: "phone_number_id", edge: undefined, run: readNumber },
  { verb: "POST", object: "phone_number_id", edge: undefined, run: configureNumber },
  { verb: "GET", object: "waba_id", edge: "message_templates", run: listMessageTemplates },
  { verb: "GET", object: "waba_id", edge: "subscribed_apps", run: listSubscribedApps },
  { verb: "POST", object: "waba_id", edge: "subscribed_apps", run: subscribeApp },
];

export const graphMethods = methods.map(
  ({ verb, object, edge }) => `${verb} /{${object}}${edge === undefined ? "" : `/${edge}`}`,
);

/** Serves the Graph API: `/{version}/{object}/{edge}`, the version being optional. Source: Graph API, versioning. */
export function serveGraph(app: FastifyInstance, state: WhatsAppState): void {
  const explain = (error: unknown) => toAnswer(explainError(error), state.world.random);
  const down = () => explain(new GraphError(503, 2, "Service temporarily unavailable"));
  takeRawBodies(app);
  app.all("/*", (request, reply) => {
    void takeCall(state.world, "whatsapp", reply, { run: () => run(state, request), explain, down });
  });
  app.setErrorHandler((error, _request, reply) => {
    void takeCall(state.world, "whatsapp", reply, { run: () => explain(error), explain, down });
  });
}

async function run(state: WhatsAppState, request: FastifyRequest): Promise<Answer> {
  const [id = "", edge, ...rest] = segmentsOf((request.params as { "*": string })["*"]);
  const header = request.headers.authorization;
  if (header !== undefined) checkToken(state, bearer(header));
  const fields = await fieldsOf(request);
  const token = header === undefined ? fields.access_token : bearer(header);
  if (header === undefined) checkToken(state, token);

  const found = rest.length === 0 ? findObject(state, id, token as string) : undefined;
  const method = methods.find(
    (one) => one.verb === request.method && one.edge === edge && one.object === found?.object,
  );
  if (!found || !method) throw unknownObject(request.method, id);
  return method.run({ state, account: found.account, fields });
}

function segmentsOf(path: string): string[] {
  const segments = path.split("/").filter((segment) => segment !== "");
  return /^v\d+\.\d+$/.test(segments[0] ?? "") ? segments.slice(1) : segments;
}

function bearer(header: string): string {
  return /^(?:Bearer|OAuth) /i.test(header) ? header.slice(header.indexOf(" ") + 1).trim() : "";
}

function checkToken({ world }: WhatsAppState, token: unknown): void {
  if (typeof token !== "string" || !world.accounts.findByToken("whatsapp", token)) throw badToken();
}

function findObject(
  { world }: WhatsAppState,
  id: string,
  token: string,
): { object: GraphMethod["object"]; account: WhatsAppAccount } | undefined {
  const number = world.accounts.find("whatsapp", id);
  if (number?.token === token) return { object: "phone_number_id", account: number as WhatsAppAccount };
  const owned = (world.accounts.list("whatsapp") as WhatsAppAccount[]).find(
    (account) => account.fields.waba_id === id && account.token === token,
  );
  return owned && { object: "waba_id", account: owned };
}

async function fieldsOf(request: FastifyRequest): Promise<Fields> {
  const { json, fields } = await readFields(request.body, request.headers["content-type"]);
  const query = request.query as Record<string, string>;
  if (json && Object.keys(query).length === 0) return fields;
  const decoded: Fields = {};
  for (const [name, value] of Object.entries(query)) decoded[name] = decodeText(value);
  for (const [name, value] of Object.entries(fields)) decoded[name] = json ? value : decodeText(value);
  return decoded;
}

/** In a query or form, objects and lists are JSON text. Source: Graph API, requests. */
function decodeText(value: unknown): unknown {
  if (typeof value !== "string" || !/^\s*[{[]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function explainError(error: unknown): GraphError {
  if (error instanceof GraphError) return error;
  if (error instanceof UnreadableBody) return badParameter(`${error.message}.`);
  const status = (error as { statusCode?: number }).statusCode;
  if (status !== undefined && status < 500) return new GraphError(status, 100, `(#100) ${(error as Error).message}`);
  process.stderr.write(`simulator: whatsapp failed on a call: ${(error as Error).stack}\n`);
  return new GraphError(500, 1, "An unknown error occurred");
}
