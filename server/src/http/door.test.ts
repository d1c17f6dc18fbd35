import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { pino } from "pino";
import { openDoor, parseAnswer } from "../testing/test-http-server.ts";

describe("every response", () => {
  test("forbids browsers to load, frame, sniff and cache", async () => {
    await using door = await openDoor();
    const answers = await Promise.all([
      fetch(`${door.origin}/hello`),
      fetch(`${door.origin}/private`),
      fetch(`${door.origin}/nowhere`),
      fetch(`${door.origin}/echo`, { method: "POST", body: "{", headers: { "content-type": "application/json" } }),
      fetch(`${door.origin}/%E0%A4%A`),
    ]);
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 401, 404, 400, 400],
    );
    for (const { headers, url } of answers) {
      assert.match(headers.get("content-security-policy") ?? "", /default-src 'none'.*frame-ancestors 'none'/, url);
      assert.equal(headers.get("x-content-type-options"), "nosniff");
      assert.equal(headers.get("x-frame-options"), "DENY");
      assert.equal(headers.get("referrer-policy"), "no-referrer");
      assert.equal(headers.get("cross-origin-opener-policy"), "same-origin");
      assert.equal(headers.get("cross-origin-resource-policy"), "same-origin");
      assert.equal(headers.get("cache-control"), "no-store");
      assert.match(headers.get("x-request-id") ?? "", /^[\w-]+$/);
      for (const name of ["server", "x-powered-by", "strict-transport-security", "access-control-allow-origin"]) {
        assert.equal(headers.get(name), null, `${url} sends ${name}`);
      }
    }
  });

  test("has the same headers when the request is not HTTP", async () => {
    await using door = await openDoor();
    const { socket, ended } = await door.dial();
    socket.write("GARBAGE\r\n\r\n");
    const { status, headers, error } = parseAnswer(await ended);
    assert.equal(status, 400);
    assert.equal(error.code, "VALIDATION_ERROR");
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    assert.equal(headers.get("x-request-id"), error.request_id);
  });
});

test("logs a request that fails once, with its id once", async () => {
  const lines: string[] = [];
  const log = pino({ level: "info" }, { write: (line) => void lines.push(line) });
  await using door = await openDoor({ log }, (app) => {
    app.get("/broken", { config: { access: "public" } }, async () => {
      throw new Error("it is broken");
    });
  });
  lines.length = 0;
  assert.equal((await fetch(`${door.origin}/broken`, { headers: { "x-request-id": "mine" } })).status, 500);
  assert.equal(lines.length, 1);
  assert.equal(lines[0]!.split('"request_id":"mine"').length, 2);
});

describe("pages of other origins", () => {
  const app = "https://app.example.com";
  const preflight = (origin: string, url: string) =>
    fetch(url, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
      },
    });

  test("that are allowed pass preflights, and can read the headers they need", async () => {
    await using door = await openDoor({ corsOrigins: [app, "https://other.example.com"] });
    const asked = await preflight(app, `${door.origin}/private`);
    assert.equal(asked.status, 204);
    assert.equal(asked.headers.get("access-control-allow-origin"), app);
    assert.equal(asked.headers.get("vary"), "Origin");
    assert.match(asked.headers.get("access-control-allow-methods") ?? "", /POST.*DELETE/);
    assert.match(asked.headers.get("access-control-allow-headers") ?? "", /authorization.*idempotency-key/);
    assert.equal(asked.headers.get("access-control-allow-credentials"), null);

    for (const [path, status] of Object.entries({ "/hello": 200, "/private": 401, "/nowhere": 404 })) {
      const answer = await fetch(door.origin + path, { headers: { origin: app } });
      assert.equal(answer.status, status);
      assert.equal(answer.headers.get("access-control-allow-origin"), app);
      const exposed = answer.headers.get("access-control-expose-headers") ?? "";
      for (const name of ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "x-request-id", "retry-after"]) {
        assert.ok(exposed.split(", ").includes(name), name);
      }
    }
  });

  test("that are not allowed get no CORS headers", async () => {
    await using door = await openDoor({ corsOrigins: [app] });
    for (const origin of [
      "https://evil.example.com",
      `${app}.evil.com`,
      "http://app.example.com",
      "null",
      `${app}:444`,
    ]) {
      const asked = await preflight(origin, `${door.origin}/hello`);
      assert.equal(asked.status, 403);
      assert.equal(((await asked.json()) as { error: { code: string } }).error.code, "FORBIDDEN");
      const answer = await fetch(`${door.origin}/hello`, { headers: { origin } });
      for (const { headers } of [asked, answer]) {
        assert.equal(headers.get("access-control-allow-origin"), null, origin);
        assert.equal(headers.get("vary"), "Origin", "a cache keeps it for its own origin");
      }
    }
    assert.equal((await fetch(`${door.origin}/hello`)).headers.get("vary"), "Origin");
  });

  test("are all allowed by *, without cookies, and none by default", async () => {
    await using open = await openDoor({ corsOrigins: ["*"] });
    const asked = await preflight("https://any.example.com", `${open.origin}/private`);
    assert.equal(asked.status, 204);
    assert.equal(asked.headers.get("access-control-allow-origin"), "*");
    assert.equal(asked.headers.get("access-control-allow-credentials"), null);

    await using closed = await openDoor();
    assert.equal((await preflight(app, `${closed.origin}/hello`)).status, 403);
    const plain = await fetch(`${closed.origin}/hello`, { method: "OPTIONS" });
    assert.equal(plain.status, 405, "OPTIONS without the header of a preflight is an ordinary method");
  });
});

describe("a request that is too large", () => {
  test("is refused by its headers, their number, its request line or its body", async () => {
    await using door = await openDoor();
    const long = "x".repeat(17 * 1024);
    const requests: Record<string, [string, number, string]> = {
      header: [`GET /hello HTTP/1.1\r\nhost: a\r\nx-long: ${long}\r\n\r\n`, 431, "HEADERS_TOO_LARGE"],
      line: [`GET /${long} HTTP/1.1\r\nhost: a\r\n\r\n`, 431, "HEADERS_TOO_LARGE"],
      number: [
        `GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n${"a: b\r\n".repeat(99)}\r\n`,
        431,
        "HEADERS_TOO_LARGE",
      ],
      "declared body": [
        "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 1048577\r\n\r\n",
        413,
        "PAYLOAD_TOO_LARGE",
      ],
      "two lengths": [
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "VALIDATION_ERROR",
      ],
      "no host": ["GET /hello HTTP/1.1\r\nconnection: close\r\n\r\n", 400, "VALIDATION_ERROR"],
      "bare newline in a header": ["GET /hello HTTP/1.1\r\nhost: a\r\nx: a\nb\r\n\r\n", 400, "VALIDATION_ERROR"],
    };
    for (const [name, [request, status, code]] of Object.entries(requests)) {
      const { socket, ended } = await door.dial();
      socket.write(request);
      const answer = parseAnswer(await ended);
      assert.equal(answer.status, status, name);
      assert.equal(answer.error.code, code, name);
    }
    const { socket, ended } = await door.dial();
    socket.write(`GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n${"a: b\r\n".repeat(90)}\r\n`);
    assert.match(await ended, /^HTTP\/1.1 200/, "what is just below is accepted");
  });
});

describe("what follows a request on its connection", () => {
  test("gets no response before the pending one when it is garbage", async () => {
    await using door = await openDoor();
    const { socket, ended } = await door.dial();
    socket.write("GET /held HTTP/1.1\r\nhost: a\r\n\r\n\0\0garbage\r\n\r\n");
    assert.equal(await ended, "", "nothing is sent in place of the first response");
  });

  test("gets 400 when it is garbage and the previous response was sent", async () => {
    await using door = await openDoor();
    const { socket, ended, received } = await door.dial();
    socket.write("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n");
    while (!received().includes('{"said":"hello"}')) await new Promise((resolve) => socket.once("data", resolve));
    socket.write("\0\0garbage\r\n\r\n");
    const second = (await ended).split('hello"}')[1]!;
    assert.equal(parseAnswer(second).status, 400);
  });

  test("is refused with OVERLOADED while the server closes", async () => {
    const closing = Promise.withResolvers<void>();
    await using door = await openDoor({}, (app) => app.addHook("preClose", async () => closing.resolve()));
    const { socket, ended } = await door.dial();
    const started = once(door.app.server, "request");
    socket.write("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    await started;
    const closed = door.app.close();
    await closing.promise;
    socket.write("GET /private HTTP/1.1\r\nhost: a\r\n\r\n");
    await once(door.app.server, "request");
    door.letGo();
    const { status, headers, error } = parseAnswer((await ended).split('last"}')[1]!);
    assert.deepEqual([status, error.code, headers.get("connection")], [503, "OVERLOADED", "close"]);
    assert.equal(headers.get("retry-after"), "1");
    assert.equal(headers.get("x-request-id"), error.request_id);
    await closed;
  });

  test("gets its response in order when it is a request", async () => {
    await using door = await openDoor();
    const { socket, ended } = await door.dial();
    socket.write("GET /hello HTTP/1.1\r\nhost: a\r\n\r\nGET /nowhere HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert.deepEqual((await ended).match(/HTTP\/1.1 \d+/g), ["HTTP/1.1 200", "HTTP/1.1 404"]);
  });
});
