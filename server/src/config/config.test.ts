import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import { banner } from "../banner.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { ConfigError, describeConfig, formatConfig, loadConfig } from "./config.ts";

const load = (env: Record<string, string>) => loadConfig(env, { envFile: null });
const shared = {
  DATABASE_URL: "postgres://hub:pass@db/hub",
  JWT_SECRET: "j".repeat(32),
  ENCRYPTION_KEY: "ab".repeat(32),
};

test("the configuration guide has a table row for every key, with its default", () => {
  const guide = readFileSync(join(import.meta.dirname, "../../../docs/guides/configuration.md"), "utf8");
  const rows = guide.split("\n").map((line) => line.split("|").map((cell) => cell.trim()));
  const absent = describeConfig(load({})).filter(({ key, default: value }) => {
    const row = rows.find(([, keys]) => keys?.includes(`\`${key}\``));
    // Defaults that depend on other keys are described in words.
    const isFixed = /^[\w:./-]+$/.test(value) && !["PUBLIC_URL", "REGISTRATION"].includes(key);
    return row === undefined || (isFixed && !row[2]!.replaceAll("`", "").includes(value));
  });
  assert.deepEqual(absent, []);
});

test("every key has a default", () => {
  const config = load({});
  assert.deepEqual(config.http, {
    port: 8080,
    host: "127.0.0.1",
    publicUrl: "http://localhost:8080",
    corsOrigins: [],
    tls: null,
    trustedProxies: null,
    admissionWaitMs: 500,
  });
  assert.equal(config.dataDir, resolve("data"));
  assert.deepEqual(config.roles, ["api", "router", "connector", "realtime", "tasks"]);
  assert.deepEqual(config.simulator, { url: null, isEnabled: true, port: 8090, enforcesWindow: true });
  assert.deepEqual(config.secrets, {
    jwtAlgorithm: "HS256",
    jwt: null,
    jwtPrivateKeys: null,
    encryptionKeys: null,
  });
  assert.equal(config.delivery.retryTotalMs, 86_400_000);
});

test("anyone may register while only this machine can reach the hub, or if REGISTRATION is open", () => {
  for (const [host, registration] of [
    ["127.0.0.1", "open"],
    ["127.0.1.1", "open"],
    ["localhost", "open"],
    ["::1", "open"],
    ["0.0.0.0", "invite"],
    ["::", "invite"],
    ["192.168.1.5", "invite"],
    ["127.0.0.1.example.com", "invite"],
  ] as const) {
    assert.equal(load({ HOST: host }).identity.registration, registration, host);
  }
  assert.equal(load({ HOST: "0.0.0.0", REGISTRATION: "open" }).identity.registration, "open");
  assert.equal(load({ REGISTRATION: "closed" }).identity.registration, "closed");
  const hub = { url: "http://x", simulatorUrl: null, simulatedChannels: [], admin: { username: "admin" } };
  assert.match(
    banner(hub as never, load({ HOST: "0.0.0.0" })),
    /^ {2}Users {7}by invitation only \(REGISTRATION=invite\)$/m,
  );
  assert.match(
    banner(hub as never, load({})),
    /^ {2}Users {7}anyone who reaches this URL may register \(REGISTRATION=open\)$/m,
  );
});

test("an empty variable counts as unset", () => {
  assert.equal(load({ PORT: "", KAFKA_BROKERS: "" }).http.port, 8080);
});

test("TLS needs a certificate and its key, or neither", () => {
  const { tls } = load({ TLS_CERT_FILE: "cert.pem", TLS_KEY_FILE: "/etc/key.pem" }).http;
  assert.deepEqual(tls, { certFile: resolve("cert.pem"), keyFile: "/etc/key.pem" });
  assert.throws(() => load({ TLS_CERT_FILE: "cert.pem" }), /TLS_KEY_FILE is missing: give both/);
  assert.throws(() => load({ TLS_KEY_FILE: "key.pem" }), /TLS_CERT_FILE is missing: give both/);
});

test("the public URL follows the port", () => {
  assert.equal(load({ PORT: "9000" }).http.publicUrl, "http://localhost:9000");
  assert.equal(load({ PUBLIC_URL: "https://hub.example.com/chat/" }).http.publicUrl, "https://hub.example.com/chat");
});

test("the simulator runs without DATABASE_URL, or if ROLES names it", () => {
  assert.equal(load(shared).simulator.isEnabled, false);
  const config = load({ ...shared, ROLES: "api,connector:telegram, simulator" });
  assert.deepEqual(config.roles, ["api", "connector:telegram"]);
  assert.equal(config.simulator.isEnabled, true);
  const everything = load({ ...shared, ROLES: "all,simulator" });
  assert.deepEqual(everything.roles, ["api", "router", "connector", "realtime", "tasks"]);
  assert.equal(everything.simulator.isEnabled, true);
});

test("a simulator that runs already is used", () => {
  const { simulator } = load({ SIMULATOR_URL: "http://127.0.0.1:9090/" });
  assert.deepEqual([simulator.isEnabled, simulator.url], [false, "http://127.0.0.1:9090"]);
  assert.equal(load({ ...shared, ROLES: "all", SIMULATOR_URL: "http://sim:9090" }).simulator.isEnabled, false);
});

test("a rate limit has a count, a period and a burst", () => {
  const rates: Record<string, unknown> = {
    "5/s": { perSecond: 5, burst: 30 },
    "5/s:1": { perSecond: 5, burst: 1 },
    "120/m": { perSecond: 2, burst: 120 },
    "3600/h:7": { perSecond: 1, burst: 7 },
    off: null,
  };
  for (const [text, limit] of Object.entries(rates)) {
    assert.deepEqual(load({ RATE_LIMIT_USER: text }).limits.byUser, limit, text);
  }
  assert.deepEqual(load({}).limits, { byUser: { perSecond: 5, burst: 30 }, byAddress: { perSecond: 20, burst: 100 } });
  for (const text of ["5", "0/s", "5/s:0", "5/d", "-5/s", "1.5/s", "5/s:", "on", "9999999/s"]) {
    assert.match(
      errorOf({ RATE_LIMIT_ADDRESS: text }).message,
      /RATE_LIMIT_ADDRESS is ".*": give a rate as in 5\/s/,
      text,
    );
  }
});

test("clamd is at a host and port, or at a socket", () => {
  const clamavOf = (url: string) => load({ CLAMAV_URL: url }).files.clamav;
  assert.deepEqual(clamavOf("tcp://scanner.internal"), { host: "scanner.internal", port: 3310 });
  assert.deepEqual(clamavOf("tcp://[::1]:3311"), { host: "::1", port: 3311 });
  assert.deepEqual(clamavOf("unix:///run/clamav/clamd.ctl"), { path: "/run/clamav/clamd.ctl" });
  for (const url of ["http://scanner", "tcp://", "tcp://scanner/path", "unix://run/clamd", "unix:///", "/run/clamd"]) {
    assert.throws(() => clamavOf(url), /CLAMAV_URL/, url);
  }
  assert.throws(() => load({ CLAMAV_UNSCANNABLE: "accept" }), /CLAMAV_UNSCANNABLE=accept is set without CLAMAV_URL/);
});

test("proxies are trusted by number or network, and never every IP address", () => {
  assert.equal(load({}).http.trustedProxies, null);
  assert.equal(load({ TRUST_PROXY: "2" }).http.trustedProxies, 2);
  assert.deepEqual(load({ TRUST_PROXY: "10.0.0.0/8, 2001:db8::/32,127.0.0.1" }).http.trustedProxies, [
    "10.0.0.0/8",
    "2001:db8::/32",
    "127.0.0.1",
  ]);
  for (const text of [
    "0",
    "10",
    "true",
    "0.0.0.0/0",
    "::/0",
    "10.0.0.0/33",
    "10.0.0.0/8/8",
    "10.0.0/8",
    "proxy",
    "1,2",
  ]) {
    assert.match(errorOf({ TRUST_PROXY: text }).message, /TRUST_PROXY is ".*": give how many/, text);
  }
});

test("the encryption key is read from hexadecimal and from base64", () => {
  const key = Buffer.alloc(32, 0xab);
  for (const text of [key.toString("hex"), key.toString("base64"), key.toString("base64url")]) {
    const { encryptionKeys } = load({ ...shared, ENCRYPTION_KEY: text }).secrets;
    assert.deepEqual(
      encryptionKeys?.map((secret) => secret.reveal()),
      [key],
    );
  }
});

test("a secret may be a list, newest first, of valid secrets", () => {
  const { jwt } = load({ ...shared, JWT_SECRET: `${"n".repeat(32)}, ${"o".repeat(32)}` }).secrets;
  assert.deepEqual(
    jwt?.map((secret) => secret.reveal()),
    ["n".repeat(32), "o".repeat(32)],
  );
  for (const list of [`${"n".repeat(32)},`, `${"n".repeat(32)},short`]) {
    assert.match(errorOf({ ...shared, JWT_SECRET: list }).message, /JWT_SECRET is malformed/);
  }
});

test("an Ed25519 key is read from PEM, also on one line, and from base64 DER; other keys are rejected", () => {
  const { privateKey } = generateKeyPairSync("ed25519");
  const pem = privateKey.export({ format: "pem", type: "pkcs8" }) as string;
  const der = privateKey.export({ format: "der", type: "pkcs8" }).toString("base64");
  for (const text of [pem, pem.replaceAll("\n", "\\n"), der, `${der},${der}`]) {
    const { jwtPrivateKeys } = load({ ...shared, JWT_ALG: "EdDSA", JWT_PRIVATE_KEY: text }).secrets;
    assert.ok(jwtPrivateKeys?.[0]?.reveal().equals(privateKey));
  }
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "pem", type: "pkcs8" });
  for (const text of [rsa as string, "a".repeat(64), pem.slice(0, 60)]) {
    const error = errorOf({ ...shared, JWT_ALG: "EdDSA", JWT_PRIVATE_KEY: text });
    assert.match(error.message, /JWT_PRIVATE_KEY is malformed: give an Ed25519 private key/);
    assert.ok(!error.message.includes(text));
  }
});

test("one error lists all problems", () => {
  const error = errorOf({
    PORT: "http",
    ROLES: "api,worker",
    ENCRYPTION_KEY: "short-and-secret",
    DATABASE_URL: "mysql://db",
    REDIS_URL: "redis://:p@ss@cache/first",
    DELIVERY_TIMEOUT: "20 seconds",
    DELIVERY_RETRY_MAX: "500ms",
    KAFKA_BROKERS: "a:9092",
    DATA_DRI: "/data",
    ACCEPT_BATCH: "3",
  });
  assert.deepEqual(error.problems, [
    'PORT is "http": give a whole number from 0 to 65535.',
    'ROLES is "api,worker": give all, or some of api, router, connector, realtime, tasks, connector:<channel>, simulator, several separated by commas.',
    "DATABASE_URL is malformed: give a URL such as postgres://user:password@host:5432/database.",
    "REDIS_URL is malformed: give a URL such as redis://user:password@host:6379/0, or rediss:// for TLS.",
    "ENCRYPTION_KEY is malformed: give 32 bytes in base64 or hexadecimal, as made by `openssl rand -base64 32`; several separated by commas, the newest first.",
    'DELIVERY_TIMEOUT is "20 seconds": give a duration from 100ms to 5m, as in 500ms, 20s, 15m, 1h or 30d.',
    "DELIVERY_RETRY_MAX is shorter than DELIVERY_RETRY_BASE: give a longer one.",
    "KAFKA_BROKERS is not supported by this version: remove it.",
    "DATA_DRI is unknown: did you mean DATA_DIR?",
    "ACCEPT_BATCH is unknown: remove it.",
  ]);
  assert.ok(!error.message.includes("short-and-secret"));
});

test("DATABASE_URL makes the secrets required", () => {
  assert.deepEqual(
    errorOf({ DATABASE_URL: shared.DATABASE_URL }).problems.map((problem) => problem.split(" ", 3).join(" ")),
    ["JWT_SECRET is missing:", "ENCRYPTION_KEY is missing:"],
  );
  assert.deepEqual(errorOf({ ...shared, JWT_ALG: "EdDSA" }).problems.length, 1);
});

test("other environment variables are ignored", () => {
  const env = {
    SSL_CERT_FILE: "/etc/ssl",
    HOSTNAME: "box",
    SIMULATOR_SERVICE_HOST: "10.0.0.1",
    ADMIN_PORT_80_TCP: "tcp://10.0.0.1",
  };
  assert.equal(load(env).http.port, 8080);
});

describe("secrets", () => {
  const secrets = {
    ...shared,
    ADMIN_PASSWORD: "correct horse",
    DATABASE_URL: "postgres://hub:p@ss@db/hub?sslpassword=word",
    REDIS_URL: "rediss://:swordfish@cache:6380/2",
  };
  const config = load(secrets);

  test("are printed as [secret] everywhere", () => {
    for (const printed of [
      inspect(config, { depth: 9, showHidden: true }),
      JSON.stringify(config),
      `${config.secrets.jwt}`,
    ]) {
      for (const secret of [
        secrets.JWT_SECRET,
        secrets.ENCRYPTION_KEY,
        "correct horse",
        "p@ss",
        "word@",
        "=word",
        "swordfish",
      ]) {
        assert.ok(!printed.includes(secret), `${secret} in ${printed}`);
      }
    }
    assert.equal(config.secrets.jwt?.[0]?.reveal(), secrets.JWT_SECRET);
  });

  test("are hidden in the description, which lists every key", () => {
    const rows = describeConfig(config);
    const current = Object.fromEntries(rows.map((row) => [row.key, row.current]));
    assert.equal(current.JWT_SECRET, "[secret]");
    assert.equal(current.DATABASE_URL, "postgres://hub:[secret]@db/hub?sslpassword=[secret]");
    assert.equal(current.REDIS_URL, "rediss://:[secret]@cache:6380/2");
    assert.ok(rows.every((row) => row.meaning.endsWith(".") || row.meaning.endsWith("?")));
    assert.match(formatConfig(rows), /^PORT=8080\n# {3}Where the hub listens.*\(default\)\n/);
  });
});

describe("the .env file", () => {
  const folder = mkdtempSync(join(tmpdir(), "chat4all-env-"));
  const envFile = join(folder, ".env");
  closeAfterTests().defer(() => rmSync(folder, { recursive: true }));
  const loadFile = (file: string, env: Record<string, string> = {}) => {
    writeFileSync(envFile, file);
    return loadConfig(env, { envFile });
  };

  test("is read, and the process environment takes precedence", () => {
    assert.equal(loadFile("PORT=9000 # ours\n").http.port, 9000);
    assert.equal(loadFile("PORT=9000", { PORT: "9001" }).http.port, 9001);
    assert.equal(loadFile("PORT=9000", { PORT: "" }).http.port, 9000);
  });

  test("may be a copy of what `npm start -- config` prints, without secrets and unset keys", () => {
    const secrets = { JWT_SECRET: shared.JWT_SECRET, ENCRYPTION_KEY: shared.ENCRYPTION_KEY };
    const most = {
      DATABASE_URL: "postgres://hub@db/hub?sslmode=require",
      REDIS_URL: "redis://cache:6379/0",
      CORS_ORIGINS: "https://a.example.com, https://b.example.com",
      SMTP_URL: "smtp://mail.example:587",
      MAIL_FROM: "The #1 hub <hub@example.com>",
      ADMIN_USERNAME: "o'hara",
      OIDC_ACME_ISSUER: "https://login.example.com",
      OIDC_ACME_CLIENT_ID: "hub",
      OIDC_ACME_CLIENT_SECRET: "s3cret",
    };
    for (const [env, besides] of [
      [{}, {}],
      [{ PORT: "9000", HOST: "::", TRUST_PROXY: "10.0.0.0/8" }, {}],
      [
        { ...most, ...secrets },
        { ...secrets, OIDC_ACME_CLIENT_SECRET: "s3cret" },
      ],
    ] as Record<string, string>[][]) {
      const config = load(env!);
      const printed = formatConfig(describeConfig(config));
      const current = (rows: typeof config.rows) => rows.map((row) => [row.key, row.current]);
      assert.deepEqual(current(describeConfig(loadFile(printed, besides))), current(describeConfig(config)));
    }
    const printed = formatConfig(describeConfig(load({ ...shared, ADMIN_PASSWORD: "correct horse" })));
    for (const line of [
      "# REDIS_URL=",
      "# CORS_ORIGINS=",
      "# JWT_SECRET=[secret]",
      "# ADMIN_PASSWORD=[secret]",
      "# DATABASE_URL=postgres://hub:[secret]@db/hub",
      "# OIDC_<NAME>_SCOPES='openid email profile'",
    ]) {
      assert.ok(printed.split("\n").includes(line), line);
    }
    assert.match(printed, /^# REDIS_URL=\n# {3}A Redis .* \(not set: none\)$/m);
  });

  test("may be missing", () => {
    assert.equal(loadConfig({}, { envFile: join(folder, "none") }).http.port, 8080);
  });

  test("rejects unknown keys", () => {
    assert.throws(() => loadFile("EDITOR=vi"), { problems: ["EDITOR is unknown: remove it."] });
  });
});

function errorOf(env: Record<string, string>): ConfigError {
  try {
    load(env);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  assert.fail("The configuration was accepted.");
}
