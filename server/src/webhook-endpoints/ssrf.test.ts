import assert from "node:assert/strict";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { before, test } from "node:test";
import { RequestError } from "../errors.ts";
import { systemClock } from "../lib/clock.ts";
import { type HttpClient, HttpError, openHttpClient } from "../lib/http.ts";
import { dnsResolve } from "../lib/resolve.ts";
import { openSecretBox } from "../lib/secret-box.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { startTestDns } from "../testing/test-dns.ts";
import type { SealedEndpoint } from "./endpoint-rows.ts";
import { requireEndpointUrl } from "./endpoints.ts";
import { newWebhookSecret, sealWebhookSecret } from "./secrets.ts";
import { answerCut, type Outcome, sendWebhook } from "./send.ts";

// URLs by which an attacker tries to reach this machine or its network. Nothing may connect: a canary listens on
// the loopback addresses, and a DNS server of the attacker resolves every name.

const publicAddress = "93.184.216.34";

const zone: Record<string, (nth: number) => string[]> = {
  "loopback.test": () => ["127.0.0.1"],
  "loopback6.test": () => ["::1"],
  "mapped.test": () => ["::ffff:127.0.0.1"],
  "translated.test": () => ["64:ff9b::7f00:1"],
  "private.test": () => ["10.0.0.7"],
  "metadata.test": () => ["169.254.169.254"],
  "nowhere.test": () => ["0.0.0.0"],
  "unique-local.test": () => ["fd00:ec2::254"],
  "link-local.test": () => ["fe80::1"],
  "mixed.test": () => [publicAddress, "127.0.0.1"],
  "mixed-first.test": () => ["127.0.0.1", publicAddress],
  "mixed6.test": () => [publicAddress, "::1"],
  "hidden.test": () => [...Array.from({ length: 12 }, (_, index) => `93.184.216.${index + 1}`), "192.168.0.1"],
  "alias.test": () => ["CNAME localhost", "127.0.0.1"],
  "alias-alone.test": () => ["CNAME localhost"],
  "alias-chain.test": () => ["CNAME alias.test", "127.0.0.1", "::1"],
  "127.0.0.1.test": () => ["127.0.0.1"],
  "empty.test": () => [],
  "rebinding.test": (nth) => [nth === 1 ? publicAddress : "127.0.0.1"],
};

/** Hosts, as they stand in a URL. */
const hosts: Record<string, string> = {
  loopback: "127.0.0.1",
  "loopback, another": "127.8.9.1",
  "short form": "127.1",
  "form with three parts": "127.0.1",
  "one decimal number": "2130706433",
  "one hexadecimal number": "0x7f000001",
  "hexadecimal parts": "0x7f.0x0.0x0.0x1",
  "octal parts": "0177.0.0.01",
  "one octal number": "017700000001",
  "mixed bases": "0x7f.1",
  "leading zeroes": "0000177.0.0.01",
  "trailing dot": "127.0.0.1.",
  "percent-encoded digits": "%31%32%37.0.0.1",
  "percent-encoded dots": "127%2e0%2e0%2e1",
  zero: "0",
  unspecified: "0.0.0.0",
  "this network": "0.1.2.3",
  ten: "10.0.0.1",
  "ten as a number": "167772161",
  "172.16": "172.16.0.1",
  "172.31": "172.31.255.255",
  "192.168": "192.168.1.1",
  "192.168 in hexadecimal": "0xc0a80101",
  "metadata of clouds": "169.254.169.254",
  "metadata as a number": "2852039166",
  "metadata in octal": "0251.0376.0251.0376",
  "metadata of another cloud": "100.100.100.200",
  "metadata of a third": "192.0.0.192",
  "shared (CGNAT)": "100.64.0.1",
  "documentation 1": "192.0.2.1",
  "documentation 2": "198.51.100.1",
  "documentation 3": "203.0.113.1",
  "6to4 relay": "192.88.99.1",
  benchmarks: "198.18.0.1",
  multicast: "224.0.0.1",
  "multicast, site": "239.255.255.250",
  reserved: "240.0.0.1",
  broadcast: "255.255.255.255",
  "IPv6 loopback": "[::1]",
  "IPv6 loopback in full": "[0000:0000:0000:0000:0000:0000:0000:0001]",
  "IPv6 unspecified": "[::]",
  "IPv4-mapped": "[::ffff:127.0.0.1]",
  "IPv4-mapped in hexadecimal": "[::ffff:7f00:1]",
  "IPv4-mapped public": "[::ffff:93.184.216.34]",
  "IPv4-compatible": "[::127.0.0.1]",
  "IPv4-translated": "[::ffff:0:127.0.0.1]",
  NAT64: "[64:ff9b::127.0.0.1]",
  "NAT64 of one's own": "[64:ff9b:1::7f00:1]",
  "6to4": "[2002:7f00:1::]",
  Teredo: "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
  "unique local": "[fc00::1]",
  "unique local metadata": "[fd00:ec2::254]",
  "link-local": "[fe80::1]",
  "link-local with a zone": "[fe80::1%25lo]",
  "loopback with a zone": "[::1%25lo]",
  "site-local": "[fec0::1]",
  "IPv6 multicast": "[ff02::1]",
  "IPv6 documentation": "[2001:db8::1]",
  "IPv6 documentation, new": "[3fff::1]",
  discard: "[100::1]",
  "segment routing": "[5f00::1]",
  "never given out": "[4000::1]",
  localhost: "localhost",
  "LOCALHOST in capitals": "LOCALHOST",
  "localhost with a dot": "localhost.",
  "below localhost": "hub.localhost",
  "a single label": "postgres",
  "a name of the local network": "printer.local",
  "a name of a cloud's inside": "metadata.google.internal",
  "a home network's name": "router.home.arpa",
  "fullwidth digits": "１２７.０.０.１",
  "circled digits": "①②⑦.⓪.⓪.①",
  "ideographic dots": "127。0。0。1",
  "mathematical digits": "𝟏𝟐𝟕.𝟎.𝟎.𝟏",
  "fullwidth localhost": "ｌｏｃａｌｈｏｓｔ",
  "soft hyphens": "local\u00adhost",
  "zero-width characters": "127.0.0.1\u200b",
  "long s": "localhoſt",
  "resolves to loopback": "loopback.test",
  "resolves to IPv6 loopback": "loopback6.test",
  "resolves to IPv4-mapped": "mapped.test",
  "resolves to NAT64": "translated.test",
  "resolves to a private IP address": "private.test",
  "resolves to metadata": "metadata.test",
  "resolves to the unspecified address": "nowhere.test",
  "resolves to unique local": "unique-local.test",
  "resolves to link-local": "link-local.test",
  "public and private IP addresses": "mixed.test",
  "private and public addresses": "mixed-first.test",
  "public IPv4 and private IPv6": "mixed6.test",
  "one private IP address among many": "hidden.test",
  "CNAME to localhost": "alias.test",
  "CNAME to localhost alone": "alias-alone.test",
  "chain of CNAMEs": "alias-chain.test",
  "a name that looks like an address": "127.0.0.1.test",
  "a name with a trailing dot": "loopback.test.",
  "a name in capitals": "LOOPBACK.test",
  "a name without addresses": "empty.test",
  "a name that does not exist": "absent.test",
};

/** Whole URLs; PORT is the canary's. */
const addresses: Record<string, string> = {
  "host as a user": "https://example.test@127.0.0.1:PORT/",
  "user and password": "https://user:password@loopback.test:PORT/",
  "an empty user": "https://@127.0.0.1:PORT/",
  "two @": "https://a@b@127.0.0.1:PORT/",
  "an encoded @ and a real one": "https://example.test%40x@127.0.0.1:PORT/",
  "an encoded slash in the user": "https://example.test%2f@127.0.0.1:PORT/",
  backslash: "https://example.test\\@127.0.0.1:PORT/",
  "backslashes for slashes": "https:\\\\127.0.0.1:PORT\\",
  "a tab in the host": "https://127.0.\t0.1:PORT/",
  "a tab in the scheme": "ht\ttps://127.0.0.1:PORT/",
  "a line end in the host": "https://127.0.0.1\n:PORT/",
  "a header in the path": "https://127.0.0.1:PORT/\r\nhost: x",
  "white space before": " https://127.0.0.1:PORT/",
  "no slashes": "https:127.0.0.1:PORT/",
  "one slash": "https:/127.0.0.1:PORT/",
  "three slashes": "https:///127.0.0.1:PORT/",
  "no scheme": "//127.0.0.1:PORT/",
  "a fragment that looks like a host": "https://127.0.0.1:PORT#@example.test/",
  "a query that looks like a host": "https://127.0.0.1:PORT?@example.test/",
  "http without TLS": "http://example.test:PORT/",
  "a file": "file:///etc/passwd",
  gopher: "gopher://127.0.0.1:PORT/_GET",
  ftp: "ftp://127.0.0.1:PORT/",
  "a web socket": "wss://127.0.0.1:PORT/",
  data: "data:application/json,{}",
  "a script": "javascript:fetch('http://127.0.0.1:PORT')",
  "a Unix socket": "unix:/var/run/docker.sock",
  "http over a Unix socket": "http+unix://%2fvar%2frun%2fdocker.sock/",
  "SSH's port": "https://example.test:22/",
  "SMTP's port": "https://example.test:25/",
  "X11's port": "https://example.test:6000/",
  "MySQL's port": "https://example.test:3306/",
  "PostgreSQL's port": "https://example.test:5432/",
  "Redis' port": "https://example.test:6379/",
  "MongoDB's port": "https://example.test:27017/",
  "Memcached's port": "https://example.test:11211/",
  "Docker's port": "https://example.test:2375/",
  "port zero": "https://example.test:0/",
  "a port that is none": "https://example.test:99999/",
};

let connections = 0;
let port = 0;
let dns: Awaited<ReturnType<typeof startTestDns>>;
let client: ReturnType<typeof openHttpClient>;
let http: HttpClient;

const opened = closeAfterTests();
before(async () => {
  const first = await canary("127.0.0.1", 0);
  port = (first.address() as AddressInfo).port;
  // Some machines have no IPv6.
  await canary("::1", port).catch(() => null);
  dns = opened.use(await startTestDns(zone));
  client = openHttpClient({
    connectionsPerHost: 4,
    allowPrivate: false,
    resolve: dnsResolve([dns.server]),
    cut: answerCut,
  });
  opened.defer(() => client.close());
  http = client.http;
});

test("the corpus has all its cases", () => {
  assert.ok(Object.keys(hosts).length + Object.keys(addresses).length >= 120);
});

for (const [name, host] of Object.entries(hosts)) {
  test(`refused as a host: ${name} (${JSON.stringify(host)})`, async () => {
    for (const url of [`https://${host}:${port}/hook`, `http://${host}:${port}/hook`]) {
      // Only the check of the connection, as if the URL had not been checked.
      await assert.rejects(http({ method: "POST", url, body: "{}", timeoutMs: 10_000 }), neverSent);
      const outcome = await send(url);
      assert.equal(outcome.isSuccess, false);
      assert.equal(outcome.statusCode, null);
      assert.ok(outcome.error);
    }
    assert.equal(connections, 0, "something connected");
  });
}

for (const [name, template] of Object.entries(addresses)) {
  const url = template.replaceAll("PORT", "44444");
  test(`refused as a URL: ${name} (${JSON.stringify(url)})`, async () => {
    const own = template.replaceAll("PORT", String(port));
    assert.throws(
      () => requireEndpointUrl(own, { allowPrivate: false }),
      (error: unknown) => error instanceof RequestError && error.code === "VALIDATION_ERROR",
    );
    const outcome = await send(own);
    assert.match(outcome.error!, /^Not sent: /);
    await assert.rejects(http({ method: "POST", url: own, body: "{}", timeoutMs: 10_000 }), neverSent);
    assert.equal(connections, 0, "something connected");
  });
}

test("resolves a name once for each connection, and connects to the address that it checked", async () => {
  const url = `https://rebinding.test:${port}/`;
  const first = await http({ method: "POST", url, timeoutMs: 300 }).catch((error: HttpError) => error);
  assert.ok(first instanceof HttpError && !/private/.test(first.message), "the public address was dialled");
  assert.equal(dns.asked.filter((question) => question.name === "rebinding.test" && question.kind === "A").length, 1);
  for (let nth = 2; nth <= 4; nth += 1) {
    await assert.rejects(http({ method: "POST", url, timeoutMs: 5_000 }), /resolves to a private IP address/);
    const asked = dns.asked.filter((question) => question.name === "rebinding.test" && question.kind === "A");
    assert.equal(asked.length, nth);
  }
  assert.equal(connections, 0, "something connected");
});

for (const code of [301, 302, 303, 307, 308]) {
  test(`a redirect (${code}) to the canary is a failed attempt and is not followed`, async () => {
    const location = `http://127.0.0.1:${port}/secret`;
    const server = createHttpServer((_request, response) => response.writeHead(code, { location }).end());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const open = openHttpClient({ connectionsPerHost: 1, allowPrivate: true, cut: answerCut });
    const outcome = await send(url, { http: open.http, allowPrivate: true });
    assert.equal(outcome.statusCode, code);
    assert.equal(outcome.isSuccess, false);
    assert.match(outcome.error!, /not followed/);
    await open.close();
    await new Promise((resolve) => server.close(resolve));
    assert.equal(connections, 0, "something connected");
  });
}

test("the canary detects a connection", async () => {
  const open = openHttpClient({ connectionsPerHost: 1, allowPrivate: true });
  await open.http({ method: "GET", url: `http://127.0.0.1:${port}/`, timeoutMs: 2_000 }).catch(() => {});
  await open.close();
  assert.equal(connections, 1);
});

test("accepts good URLs as they are", () => {
  const fine = [
    "https://example.com/hook?key=1",
    "https://example.com:8443/",
    "https://[2606:4700::1111]/",
    "https://1.1.1.1/",
  ];
  for (const url of fine) assert.equal(requireEndpointUrl(url, { allowPrivate: false }), url);
  assert.equal(
    requireEndpointUrl("https://münchen.example/", { allowPrivate: false }),
    "https://xn--mnchen-3ya.example/",
  );
  assert.equal(requireEndpointUrl("http://localhost:3000", { allowPrivate: true }), "http://localhost:3000/");
});

function neverSent(error: unknown): boolean {
  if (error instanceof HttpError) {
    assert.doesNotMatch(error.message, /timeout/i, "it waited for a response");
    return true;
  }
  assert.match(String(error), /Invalid URL|Invalid protocol|InvalidArgument/i);
  return true;
}

async function send(url: string, options: Partial<{ http: HttpClient; allowPrivate: boolean }> = {}): Promise<Outcome> {
  const secretBox = openSecretBox(Buffer.alloc(32, 1));
  const endpoint = {
    webhook_endpoint_id: "e",
    url,
    secret_sealed: sealWebhookSecret(secretBox, "e", newWebhookSecret()),
    old_secret_sealed: null,
    old_secret_until: null,
  } as unknown as SealedEndpoint;
  const deps = { http, clock: systemClock, secretBox, allowPrivate: false, ...options };
  const outcome = await sendWebhook(deps, endpoint, { webhook_delivery_id: "d", body: "{}" });
  return outcome!;
}

async function canary(host: string, wanted: number): Promise<Server> {
  const server = createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(wanted, host, resolve));
  opened.defer(() => void server.close());
  return server;
}
