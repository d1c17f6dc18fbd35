import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { startSimulator } from "../../../../simulator/src/simulator.ts";
import type { ChannelAccountSettings, ConnectorIo } from "../../connectors/connector.ts";
import { systemClock } from "../../lib/clock.ts";
import { openHttpClient } from "../../lib/http.ts";
import { patient } from "../patience.ts";

/** What the simulator shows of a message that it got. */
interface SeenMessage {
  to: string;
  kind: string;
  text: string | null;
  media: { bytes: number | null; sha256: string | null; filename: string | null; caption: string | null } | null;
  provider_message_id: string;
  raw: unknown;
}

export type TestPlatform = Awaited<ReturnType<typeof startTestPlatform>>;

/** How long a test waits for a webhook, in milliseconds. */
const patienceMs = patient(20_000);

/** A simulator with one account, and a real HTTP client that reaches it. */
export async function startTestPlatform(channel: string, simulatorAccount: object) {
  const simulator = await startSimulator({ accounts: [simulatorAccount], enforceWindow: false, seed: "conformance" });
  const client = openHttpClient({ connectionsPerHost: 4, allowPrivate: true });
  const { http, read } = client;
  const io: ConnectorIo = { http, read, clock: systemClock, random: Math.random, timeoutMs: patienceMs };
  const settings: ChannelAccountSettings = { base_url: `${simulator.url}/${channel}` };

  async function control(method: string, path: string, body?: object): Promise<string> {
    const headers = { "content-type": "application/json" };
    const call = { method, url: `${simulator.url}/_sim/${path}`, headers, timeoutMs: patienceMs };
    const answer = await io.http(
      body === undefined ? { ...call, headers: {} } : { ...call, body: JSON.stringify(body) },
    );
    if (answer.status >= 400) throw new Error(`${method} ${path}: ${answer.status} ${answer.body}`);
    return answer.body;
  }

  return {
    io,
    settings,
    /** Oldest first. */
    async received(): Promise<SeenMessage[]> {
      return JSON.parse(await control("GET", `messages?channel=${channel}`)).data;
    },
    /** Read marks and typing, oldest first. */
    async signals(): Promise<{ kind: string; to: string | null; provider_message_id: string | null }[]> {
      return JSON.parse(await control("GET", `signals?channel=${channel}`)).data;
    },
    break: (fault: object) => control("POST", "faults", { channel, ...fault }),
    repair: () => control("DELETE", "faults"),
    /** The person writes to the account. */
    write: (from: string, text: string) =>
      control("POST", "inbound", { channel, from, payload: { type: "text", text } }),
    /** The person sends a file, with these bytes. */
    writeFile: (from: string, file: { content_type: string; filename?: string; caption?: string; content: Buffer }) =>
      control("POST", "inbound", {
        channel,
        from,
        payload: { type: "file", ...file, content: file.content.toString("base64") },
      }),
    /** The platform forgets the URLs, or with `all` the files, that it gave. */
    expireMedia: (body: object) => control("POST", "media/expire", { channel, ...body }),
    /** The person reacts to a message of the account. */
    react: (from: string, message_id: string, emoji: string) =>
      control("POST", "inbound", { channel, from, payload: { type: "reaction", message_id, emoji } }),
    /** A URL without a server. */
    async closedUrl(): Promise<string> {
      const server = await startTestServer(() => ({ status: 200 }));
      await server[Symbol.asyncDispose]();
      return server.url;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await client.close();
      await simulator.close();
    },
  };
}

export interface ReceivedCall {
  method: string;
  url: string;
  query: Record<string, string>;
  headers: Record<string, string | undefined>;
  rawBody: Buffer;
}

interface TestAnswer {
  status: number;
  headers?: Record<string, string>;
  body?: string;
}

/** An HTTP server with a given response. */
export async function startTestServer(answer: (call: ReceivedCall) => TestAnswer) {
  const server = createServer(async (request, response) => {
    const rawBody = Buffer.concat(await request.toArray());
    const url = new URL(request.url ?? "/", "http://localhost");
    const { status, headers, body } = answer({
      method: request.method ?? "",
      url: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: firstValues(request.headers),
      rawBody,
    });
    response.writeHead(status, headers).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose](): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function firstValues(headers: IncomingHttpHeaders): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]),
  );
}
