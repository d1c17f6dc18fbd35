import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo, Server } from "node:net";
import { Readable } from "node:stream";
import { test } from "node:test";
import { until } from "../testing/until.ts";
import { type HttpCall, HttpError, maxAnswerBytes, openHttpClient } from "./http.ts";
import { isPrivateAddress } from "./public-addresses.ts";

test("a response comes back with its status, headers and body; a redirect is not followed", async () => {
  await using server = await serve((request, response) => {
    let body = "";
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => response.writeHead(302, { location: "/else", "x-two": ["a", "b"] }).end(`got ${body}`));
  });
  const answer = await server.call({ method: "POST", body: "oi" });
  assert.equal(answer.status, 302);
  assert.equal(answer.body, "got oi");
  assert.equal(answer.headers.location, "/else");
});

test("distinguishes requests that cannot have arrived from those that may have", async () => {
  const closed = await serve(() => {});
  await closed[Symbol.asyncDispose]();
  await using silent = await serve(() => {});
  await assert.rejects(silent.call({ url: closed.url }), lost(false), "a closed port");
  await assert.rejects(silent.call({ timeoutMs: 50 }), lost(true, "No complete response arrived within 0.05 s"));

  await using resetting = await serve((request) => request.socket.resetAndDestroy());
  await assert.rejects(resetting.call({}), lost(true), "reset after the request");

  await using hangingUp = await serve((_request, response) => {
    response.writeHead(200, { "content-length": "100" });
    response.write("half");
    setImmediate(() => response.destroy());
  });
  await assert.rejects(hangingUp.call({}), lost(true), "cut off in the body");
  await assert.rejects(
    hangingUp.http({ method: "GET", url: "http://nowhere.invalid/", timeoutMs: 1_000 }),
    lost(false),
  );
});

test("a request that ends while it waits for a connection has not arrived, and is never sent", async () => {
  const paths: string[] = [];
  const responses: ServerResponse[] = [];
  await using server = await serve((request, response) => {
    paths.push(request.url!);
    responses.push(response);
  });
  const busy = [server.call({}), server.call({})];
  await until("both connections are busy", () => paths.length === 2);
  const abort = new AbortController();
  const aborted = server.call({ url: `${server.url}/aborted`, signal: abort.signal });
  await assert.rejects(server.call({ url: `${server.url}/late`, timeoutMs: 20 }), lost(false));
  abort.abort();
  await assert.rejects(aborted, lost(false));
  await assert.rejects(server.call({ url: `${server.url}/aborted`, signal: abort.signal }), lost(false));
  for (const response of responses) response.end();
  await Promise.all(busy);
  const next = server.call({ url: `${server.url}/next` });
  await until("the next request arrived", () => paths.length === 3);
  responses.at(-1)!.end();
  await next;
  assert.deepEqual(paths, ["/", "/", "/next"]);
});

test("a request that is aborted while the platform works on it may have arrived", async () => {
  const abort = new AbortController();
  await using server = await serve(() => abort.abort());
  await assert.rejects(server.call({ signal: abort.signal }), lost(true));
});

// A lane waits for its attempt: one that trickles on forever would hold its person back forever.
test("the timeout bounds the whole exchange, also of a response that trickles", async () => {
  await using trickling = await serve((_request, response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write("."), 5);
    response.on("close", () => clearInterval(timer));
  });
  await assert.rejects(trickling.call({ timeoutMs: 60 }), lost(true));
});

test("a response that is too long is an error", async () => {
  await using server = await serve((_request, response) => response.end("x".repeat(maxAnswerBytes + 1)));
  await assert.rejects(server.call({}), lost(true));
});

test("private IP addresses are refused, as they are written and as they are looked up", async () => {
  await using server = await serve((_request, response) => response.end("inside"));
  const { http, close } = openHttpClient({ connectionsPerHost: 1, allowPrivate: false });
  const { port } = new URL(server.url);
  const hosts = [
    "127.0.0.1",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "0x7f.1",
    "2130706433",
    "0.0.0.0",
    "169.254.169.254",
  ];
  for (const host of hosts) {
    const call = http({ method: "GET", url: `http://${host}:${port}/`, timeoutMs: 1_000 });
    await assert.rejects(call, lost(false), host);
  }
  await close();

  const trusting = openHttpClient({ connectionsPerHost: 1, allowPrivate: false, allowedOrigins: [server.url] });
  assert.equal((await trusting.http({ method: "GET", url: `${server.url}/x`, timeoutMs: 1_000 })).body, "inside");
  await trusting.close();
});

test("which addresses are private", () => {
  const inside = [
    "10.1.2.3",
    "172.31.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "224.0.0.1",
    "fd00::1",
    "fe80::1",
    "::",
    "::1",
  ];
  const outside = ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"];
  for (const address of inside) assert.equal(isPrivateAddress(address), true, address);
  for (const address of outside) assert.equal(isPrivateAddress(address), false, address);
  for (const address of ["::ffff:1.1.1.1", "2002:101:101::", "64:ff9b::101:101", "host"]) {
    assert.equal(isPrivateAddress(address), true, address);
  }
});

test("a malformed request never leaves", async () => {
  await using server = await serve((_request, response) => response.end());
  await assert.rejects(server.call({ headers: { "bad header": "x" } }), lost(false));
});

test("a body is sent as it is read; a request that ends before its last byte cannot have arrived", async () => {
  await using server = await serve(async (request, response) => {
    const chunks = await request.toArray().catch(() => []);
    response.end(String(chunks.reduce((bytes, chunk) => bytes + chunk.length, 0)));
  });
  const send = (chunks: () => AsyncGenerator<Buffer>, bytes: number) => {
    let isSent = false;
    const marked = async function* () {
      yield* chunks();
      isSent = true;
    };
    const body = { stream: Readable.from(marked()), isSent: () => isSent };
    return server.call({ method: "POST", body, headers: { "content-length": String(bytes) } });
  };
  const block = Buffer.alloc(64 * 1024);
  const many = async function* () {
    for (let left = 40; left > 0; left -= 1) yield block;
  };
  assert.equal((await send(many, 40 * block.length)).body, String(40 * block.length));
  const broken = async function* () {
    yield block;
    throw new Error("the disk failed");
  };
  await assert.rejects(send(broken, 2 * block.length), lost(false, "the disk failed"));

  for (const url of ["not a URL", "http://127.0.0.1:1/", `${server.url}/early`]) {
    const stream = Readable.from(many());
    await server.call({ url, method: "POST", body: { stream, isSent: () => false } }).catch(() => {});
    assert.ok(stream.destroyed, url);
  }
});

test("a long response is read as a stream, and as slowly as its reader", async () => {
  const blocks = 400;
  let written = 0;
  await using server = await serve(async (_request, response) => {
    for (; written < blocks; written += 1) {
      if (!response.write(Buffer.alloc(64 * 1024, written))) await once(response, "drain");
    }
    response.end();
  });
  const { status, body } = await server.read({ url: `${server.url}/`, timeoutMs: 2_000 });
  assert.equal(status, 200);
  const reader = body[Symbol.asyncIterator]();
  let bytes = (await reader.next()).value.length;
  await until("the sender waits", async () => {
    const before = written;
    await new Promise((resolve) => setTimeout(resolve, 50));
    return written === before;
  });
  assert.ok(written < blocks);
  for (let next = await reader.next(); next.done !== true; next = await reader.next()) bytes += next.value.length;
  assert.equal(bytes, blocks * 64 * 1024);
});

test("a response that stops ends its stream with an error, and private addresses are not read either", async () => {
  await using server = await serve((_request, response) => {
    response.writeHead(200, { "content-length": "100" }).write("half");
  });
  const { body } = await server.read({ url: `${server.url}/`, timeoutMs: 1_000 });
  await assert.rejects(body.toArray());
  const guarded = openHttpClient({ connectionsPerHost: 1, allowPrivate: false });
  await assert.rejects(guarded.read({ url: `${server.url}/`, timeoutMs: 1_000 }), lost(false));
  await guarded.close();
});

function lost(mayHaveArrived: boolean, message?: string) {
  return (error: unknown) => {
    assert.ok(error instanceof HttpError, String(error));
    assert.equal(error.mayHaveArrived, mayHaveArrived, error.message);
    assert.equal(error.message, message ?? error.message);
    return true;
  };
}

async function serve(listener: RequestListener) {
  const server = createServer(listener);
  const url = await listen(server);
  const { http, read, close } = openHttpClient({ connectionsPerHost: 2, allowPrivate: true });
  return {
    url,
    http,
    read,
    call: (call: Partial<HttpCall>) => http({ method: "GET", url: `${url}/`, timeoutMs: 2_000, ...call }),
    async [Symbol.asyncDispose]() {
      await close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
