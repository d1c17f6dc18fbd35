import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Account } from "../accounts.ts";
import { type Answer, takeCall } from "../calls.ts";
import { takeRawBodies, withBody } from "../http/body.ts";
import { type Fields, type FilePart, UnreadableBody } from "../http/multipart.ts";
import { type Media, StoreBusy } from "../media/media-store.ts";
import type { WhatsAppAccount } from "./account.ts";
import { badParameter, badToken, GraphError, toAnswer, unknownObject } from "./graph-error.ts";
import { deleteMedia, download, maxMediaBytes, readMedia, uploadMedia } from "./media.ts";
import { configureNumber, listMessageTemplates, listSubscribedApps, readNumber, subscribeApp } from "./objects.ts";
import { postMessages } from "./send.ts";
import type { WhatsAppState } from "./state.ts";

export interface GraphCall {
  state: WhatsAppState;
  account: WhatsAppAccount;
  fields: Fields;
  files: ReadonlyMap<string, FilePart>;
  /** Where the caller reaches the simulator, such as `http://127.0.0.1:8090`. */
  origin: string;
}

interface MethodName {
  verb: string;
  edge: string | undefined;
}

type GraphMethod =
  | (MethodName & { object: "phone_number_id" | "waba_id"; run(call: GraphCall): Answer | Promise<Answer> })
  | (MethodName & { object: "media_id"; run(call: GraphCall & { media: Media }): Answer | Promise<Answer> });

/** What an id in a path names, and the account that it belongs to. */
type GraphObject =
  | { object: "phone_number_id" | "waba_id"; account: WhatsAppAccount }
  | { object: "media_id"; account: WhatsAppAccount; media: Media };

const methods: readonly GraphMethod[] = [
  { verb: "POST", object: "phone_number_id", edge: "messages", run: postMessages },
  { verb: "POST", object: "phone_number_id", edge: "media", run: uploadMedia },
  { verb: "GET", object: "media_id", edge: undefined, run: readMedia },
  { verb: "DELETE", object: "media_id", edge: undefined, run: deleteMedia },
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
  if (id === "attachments" && edge === undefined && request.method === "GET") {
    return download(state, header && bearer(header), request.query as Record<string, string>);
  }
  return withBody(request, state.world.media, maxMediaBytes, (body) => {
    const fields = decode(body, request.query as Record<string, string>);
    const token = header === undefined ? fields.access_token : bearer(header);
    if (header === undefined) checkToken(state, token);

    const found = rest.length === 0 ? findObject(state, id, token as string) : undefined;
    const call = { state, fields, files: body.files, origin: `${request.protocol}://${request.host}` };
    for (const method of methods) {
      if (method.verb !== request.method || method.edge !== edge) continue;
      if (method.object === "media_id" && found?.object === "media_id") return method.run({ ...call, ...found });
      if (method.object !== "media_id" && method.object === found?.object) return method.run({ ...call, ...found });
    }
    throw unknownObject(request.method, id);
  });
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

function findObject({ world }: WhatsAppState, id: string, token: string): GraphObject | undefined {
  const ofToken = (account: Account | undefined) =>
    account?.token === token ? (account as WhatsAppAccount) : undefined;
  const number = ofToken(world.accounts.find("whatsapp", id));
  if (number) return { object: "phone_number_id", account: number };
  const media = world.media.find("whatsapp", id);
  const owner = media && ofToken(world.accounts.find("whatsapp", media.account));
  if (owner) return { object: "media_id", account: owner, media };
  const owned = (world.accounts.list("whatsapp") as WhatsAppAccount[]).find(
    (account) => account.fields.waba_id === id && account.token === token,
  );
  return owned && { object: "waba_id", account: owned };
}

function decode({ json, fields }: { json: boolean; fields: Fields }, query: Record<string, string>): Fields {
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
  if (error instanceof StoreBusy) return new GraphError(503, 131016, "(#131016) Service unavailable");
  const status = (error as { statusCode?: number }).statusCode;
  if (status !== undefined && status < 500) return new GraphError(status, 100, `(#100) ${(error as Error).message}`);
  process.stderr.write(`simulator: whatsapp failed on a call: ${(error as Error).stack}\n`);
  return new GraphError(500, 1, "An unknown error occurred");
}
