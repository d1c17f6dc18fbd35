import { Agent, get, type RequestOptions, request } from "node:http";
import { text } from "node:stream/consumers";
import { serve } from "../child.ts";
import { moved } from "../movement.ts";
import { contentBytes, partContent } from "./part-content.ts";

export type FileTraffic =
  | { kind: "put"; parts: readonly { url: string; bytes: number }[]; atOnce: number }
  | { kind: "get"; url: string }
  | { kind: "post"; url: string; authorization: string; bytes: number; count: number };

const content = partContent();

/** The client of uploads and downloads: it computes nothing, so that the servers have the processor. */
serve((traffic: FileTraffic) => {
  if (traffic.kind === "put") return putAll(traffic);
  return traffic.kind === "get"
    ? read(traffic.url)
    : Promise.all(Array.from({ length: traffic.count }, () => post(traffic)));
});

/** Milliseconds. */
async function putAll({ parts, atOnce }: FileTraffic & { kind: "put" }): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce });
  const startedAt = performance.now();
  const left = [...parts].reverse();
  const work = async () => {
    for (let part = left.pop(); part !== undefined; part = left.pop()) {
      await put(agent, part.url, part.bytes);
      moved("a part");
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  const ms = performance.now() - startedAt;
  agent.destroy();
  return ms;
}

async function put(agent: Agent, url: string, bytes: number): Promise<void> {
  await send(url, { method: "PUT", agent, headers: { "content-length": bytes } }, bytes);
}

/** The id of the file. */
async function post({ url, authorization, bytes }: FileTraffic & { kind: "post" }): Promise<string> {
  const head = '--boundary\r\ncontent-disposition: form-data; name="file"; filename="bench.pdf"\r\n\r\n';
  const foot = "\r\n--boundary--\r\n";
  const headers = {
    authorization,
    "content-type": "multipart/form-data; boundary=boundary",
    "content-length": head.length + bytes + foot.length,
  };
  return JSON.parse(await send(url, { method: "POST", headers }, bytes, head, foot)).file_id;
}

/** The body of the response. */
function send(url: string, options: RequestOptions, bytes: number, head = "", foot = ""): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const sending = request(url, options, async (answer) => {
    const body = await text(answer);
    if (answer.statusCode! < 300) resolve(body);
    else reject(new Error(`A file got ${answer.statusCode}: ${body}`));
  });
  sending.on("error", reject);
  if (head !== "") sending.write(head);
  let sent = 0;
  const more = () => {
    while (sent < bytes) {
      const chunk = content.subarray(0, Math.min(contentBytes, bytes - sent));
      sent += chunk.length;
      if (!sending.write(chunk)) return void sending.once("drain", more);
    }
    sending.end(foot);
  };
  more();
  return promise;
}

async function read(url: string): Promise<{ ms: number; bytes: number }> {
  const startedAt = performance.now();
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const reading = get(url, (answer) => {
    let bytes = 0;
    answer.on("data", ({ length }) => {
      bytes += length;
    });
    answer.on("end", () => resolve(bytes));
    answer.on("error", reject);
  });
  reading.on("error", reject);
  const bytes = await promise;
  return { ms: performance.now() - startedAt, bytes };
}
