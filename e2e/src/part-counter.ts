import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";

/** A proxy in front of a store, which sees the parts that are sent to it. */
export interface PartCounter extends AsyncDisposable {
  readonly url: string;
  /** How many parts of a file the store has confirmed. */
  stored(fileId: string): number;
  /** Parts that were sent after the store had confirmed them. */
  readonly sentAgain: readonly string[];
  /** Of the bodies of all parts, also of those that were cut off. */
  bytesSent(): number;
}

/** Passes everything on to `target`, with the same `host`, which may be part of a signature. */
export async function openPartCounter(target: string): Promise<PartCounter> {
  const { hostname, port } = new URL(target);
  const stored = new Set<string>();
  const sentAgain: string[] = [];
  let sent = 0;
  const server = createServer((incoming, outgoing) => {
    const { method, url = "", headers } = incoming;
    const { pathname, searchParams } = new URL(url, target);
    const number = searchParams.get("part") ?? searchParams.get("partNumber");
    const part = method === "PUT" && number !== null ? `${pathname} ${number}` : null;
    if (part !== null) {
      if (stored.has(part)) sentAgain.push(part);
      incoming.on("data", ({ length }) => {
        sent += length;
      });
    }
    const passed = request({ hostname, port, method, path: url, headers }, (answer) => {
      if (part !== null && answer.statusCode === 200) stored.add(part);
      outgoing.writeHead(answer.statusCode!, answer.rawHeaders);
      pipeline(answer, outgoing).catch(() => {});
    });
    passed.on("error", () => outgoing.destroy());
    pipeline(incoming, passed).catch(() => outgoing.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stored: (fileId) => [...stored].filter((part) => part.includes(fileId)).length,
    sentAgain,
    bytesSent: () => sent,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
