import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { serve } from "../child.ts";

export interface FilesOrder {
  folder: string;
}

const bufferBytes = 256 * 1024;

/**
 * The least that a server of files can do: `PUT` writes the body to a file with its name, computes the SHA-256 on the way,
 * and responds when the file is on the disk; `GET` reads a file.
 */
serve(async ({ folder }: FilesOrder) => {
  const server = createServer(async (request, response) => {
    const path = join(folder, basename(request.url!));
    if (request.method === "GET") return pipeline(createReadStream(path, { highWaterMark: bufferBytes }), response);
    const hash = createHash("sha256");
    const hashing = new Transform({
      transform(chunk, _encoding, done) {
        hash.update(chunk);
        done(null, chunk);
      },
    });
    await pipeline(request, hashing, createWriteStream(path, { flush: true, highWaterMark: bufferBytes }));
    response.writeHead(200, { etag: hash.digest("hex") }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
