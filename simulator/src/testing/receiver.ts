import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

export interface Received {
  method: string;
  url: URL;
  headers: IncomingMessage["headers"];
  body: string;
}

/** How a receiver responds; `undefined`: never. */
type Reply = { status: number; body?: string; headers?: Record<string, string> } | undefined;

/** A webhook endpoint for tests. Returns 200 by default. */
export interface Receiver extends AsyncDisposable {
  readonly url: string;
  readonly received: Received[];
  reply: (request: Received, count: number) => Reply | Promise<Reply>;
  close(): Promise<void>;
}

export async function openReceiver(port = 0): Promise<Receiver> {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const url = new URL(request.url ?? "/", "http://receiver");
    const arrived = {
      method: request.method ?? "",
      url,
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
    };
    received.push(arrived);
    const reply = await receiver.reply(arrived, received.length);
    if (reply) response.writeHead(reply.status, reply.headers).end(reply.body);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const close = async () => {
    server.closeAllConnections();
    await new Promise<unknown>((resolve) => server.close(resolve));
  };
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    received,
    reply: () => ({ status: 200 }),
    close,
    [Symbol.asyncDispose]: close,
  };
  return receiver;
}
