/**
 * A program that receives events, written from the documentation with the package `standardwebhooks`. It verifies every
 * request and responds as configured. Run in its own process, see
 * `webhook-program.ts`; it says where it listens as one line of JSON.
 *
 *   POST /hooks/<name>     an endpoint
 *   PUT  /_hooks/<name>    {secret, behaviour}: its secret and how it responds
 *   GET  /_hooks/<name>    {data: [...]}: every request, oldest first
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Webhook } from "standardwebhooks";

export type Behaviour =
  | { kind: "ok" }
  /** The first `times` requests of each event (default: all) get this status. */
  | { kind: "fail"; status: number; times?: number; retryAfter?: string }
  | { kind: "slow"; ms: number }
  | { kind: "redirect"; to: string };

export interface Received {
  /** Whether the signature was valid. */
  isVerified: boolean;
  /** Why it was refused. */
  refusal: string | null;
  id: string;
  type: string | null;
  timestamp: string | null;
  data: Record<string, unknown>;
  signatures: number;
  status: number;
  atMs: number;
}

interface Hook {
  secret: string;
  behaviour: Behaviour;
  received: Received[];
}

const hooks = new Map<string, Hook>();

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => answer(request, Buffer.concat(chunks).toString(), response));
});
server.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  const { port } = server.address() as { port: number };
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${port}` })}\n`);
});
// It ends with its parent.
process.stdin.on("end", () => process.exit(0)).resume();

function answer(request: IncomingMessage, body: string, response: ServerResponse): void {
  const [, place, name = ""] = (request.url ?? "").split("/");
  if (place === "_hooks" && request.method === "PUT") {
    const { received } = hooks.get(name) ?? { received: [] };
    hooks.set(name, { ...JSON.parse(body), received });
    response.writeHead(204).end();
    return;
  }
  const hook = hooks.get(name);
  if (hook === undefined) response.writeHead(404).end();
  else if (place === "_hooks") response.end(JSON.stringify({ data: hook.received }));
  else receive(hook, request, body, response);
}

function receive(hook: Hook, request: IncomingMessage, body: string, response: ServerResponse): void {
  const headers = Object.fromEntries(Object.entries(request.headers).map(([key, value]) => [key, String(value)]));
  const id = headers["webhook-id"] ?? "";
  const entry: Received = {
    isVerified: false,
    refusal: null,
    id,
    type: null,
    timestamp: null,
    data: {},
    signatures: (headers["webhook-signature"] ?? "").split(" ").length,
    status: 204,
    atMs: Date.now(),
  };
  hook.received.push(entry);
  try {
    const event = new Webhook(hook.secret).verify(body, headers) as Pick<Received, "type" | "timestamp" | "data">;
    Object.assign(entry, { isVerified: true, type: event.type, timestamp: event.timestamp, data: event.data });
  } catch (error) {
    entry.refusal = (error as Error).message;
    end(400);
    return;
  }
  const { behaviour } = hook;
  switch (behaviour.kind) {
    case "ok":
      end(204);
      break;
    case "fail": {
      const seen = hook.received.filter((one) => one.id === id && one.isVerified).length;
      const isOver = behaviour.times !== undefined && seen > behaviour.times;
      if (behaviour.retryAfter !== undefined) response.setHeader("retry-after", behaviour.retryAfter);
      end(isOver ? 204 : behaviour.status);
      break;
    }
    case "slow":
      setTimeout(() => end(204), behaviour.ms);
      break;
    case "redirect":
      response.setHeader("location", behaviour.to);
      end(302);
      break;
    default:
      behaviour satisfies never;
  }

  function end(status: number): void {
    entry.status = status;
    response.writeHead(status).end();
  }
}
