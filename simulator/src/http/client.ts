import http from "node:http";
import https from "node:https";

/** Longest part of a response that is kept; the rest is read and dropped. */
const maxAnswerBytes = 65_536;

interface HttpRequest {
  method: "GET" | "POST";
  url: string;
  headers?: Record<string, string>;
  body?: Buffer;
  timeoutMs: number;
}

type HttpOutcome =
  | { kind: "answer"; status: number; headers: http.IncomingHttpHeaders; body: string }
  | { kind: "failed"; reason: string };

/** Sends requests over connections that stay open. Redirects are responses, not followed. Owns its sockets: close it. */
export class HttpClient {
  readonly #plain = new http.Agent({ keepAlive: true, maxFreeSockets: 64 });
  readonly #secure = new https.Agent({ keepAlive: true, maxFreeSockets: 64 });

  send(request: HttpRequest): Promise<HttpOutcome> {
    return new Promise((resolve) => {
      const secure = request.url.startsWith("https:");
      const headers: Record<string, string> = { ...request.headers };
      if (request.body !== undefined) headers["content-length"] = String(request.body.length);
      const options = { method: request.method, headers, agent: secure ? this.#secure : this.#plain };
      const sent = secure ? https.request(request.url, options) : http.request(request.url, options);
      const deadline = setTimeout(() => sent.destroy(new Error("timeout")), request.timeoutMs);
      deadline.unref();
      const settle = (outcome: HttpOutcome) => {
        clearTimeout(deadline);
        resolve(outcome);
      };
      sent.on("error", (error) => settle({ kind: "failed", reason: error.message }));
      sent.once("response", (response) => {
        response.on("error", (error) => settle({ kind: "failed", reason: error.message }));
        readText(response, (body) =>
          settle({ kind: "answer", status: response.statusCode ?? 0, headers: response.headers, body }),
        );
      });
      sent.end(request.body);
    });
  }

  /** Ends what is under way (its outcome is `failed`) and every idle connection. */
  close(): void {
    this.#plain.destroy();
    this.#secure.destroy();
  }
}

function readText(response: http.IncomingMessage, done: (text: string) => void): void {
  const chunks: Buffer[] = [];
  let size = 0;
  response.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size <= maxAnswerBytes) chunks.push(chunk);
  });
  response.once("end", () => done(Buffer.concat(chunks).toString()));
}
