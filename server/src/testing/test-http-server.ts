import { once } from "node:events";
import { type AddressInfo, connect, type Socket } from "node:net";
import { pino } from "pino";
import { Type } from "typebox";
import { RequestError } from "../errors.ts";
import type { App } from "../http/app.ts";
import { openRestServer, type RestOptions } from "../http/server.ts";

/** The HTTP server with a few routes and no hub behind it, on a real port. */
export async function openDoor(options: Partial<RestOptions> = {}, more: (app: App) => void = () => {}) {
  const app = await openRestServer({
    log: pino({ level: "silent" }),
    authenticate() {
      throw new RequestError("AUTH_REQUIRED", "There are no callers here.");
    },
    dbOf() {
      throw new Error("there is no database behind this door");
    },
    ...options,
  });
  const open = { config: { access: "public" } } as const;
  app.get("/hello", open, async () => ({ said: "hello" }));
  app.post("/echo", { ...open, schema: { body: Type.Object({ text: Type.String() }) } }, async ({ body }) => body);
  app.get("/private", { config: { access: { role: "member" } } }, async () => ({ said: "secret" }));
  const held = Promise.withResolvers<void>();
  app.get("/held", open, async () => {
    await held.promise;
    return { said: "at last" };
  });
  // More than the buffers of two sockets hold.
  app.get("/large", open, async (_request, reply) =>
    reply.type("text/plain").send(Buffer.alloc(64 * 1024 * 1024, "x")),
  );
  more(app);
  await app.listen({ port: 0, host: "127.0.0.1" });
  const { port } = app.server.address() as AddressInfo;
  const sockets: Socket[] = [];
  return {
    app,
    port,
    origin: `http://127.0.0.1:${port}`,
    letGo: held.resolve,
    /** A bare connection; `ended` resolves with all that it received. */
    async dial() {
      const socket = connect(port, "127.0.0.1");
      sockets.push(socket);
      socket.on("error", () => {});
      await once(socket, "connect");
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk;
      });
      const ended = once(socket, "close").then(() => text);
      return { socket, ended, received: () => text };
    },
    async [Symbol.asyncDispose]() {
      held.resolve();
      for (const socket of sockets) socket.destroy();
      await app.close();
    },
  };
}

/** The status, the headers (in lower case) and the error of one response. */
export function parseAnswer(text: string) {
  const [head = "", body = ""] = text.split("\r\n\r\n");
  const [status = "", ...lines] = head.split("\r\n");
  const headers = new Map(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 2)]),
  );
  return { status: Number(status.split(" ")[1]), headers, error: body === "" ? null : JSON.parse(body).error };
}
