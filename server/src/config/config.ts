import { resolve } from "node:path";
import type { EnvKind } from "../lib/env-kinds.ts";
import * as kind from "../lib/env-kinds.ts";
import { type Env, type EnvReader, type EnvRow, envReader, mergeEnv, readEnvFile } from "../lib/env-reader.ts";
import { type EnvNames, unknownVariables } from "../lib/env-unknown.ts";
import { readFiles } from "./files.ts";
import { readLimits, readTrustedProxies } from "./limits.ts";
import { readLlm } from "./llm.ts";
import { readMail, readProviders } from "./log-in.ts";
import { readRegistration } from "./registration.ts";
import { readSecrets } from "./secrets.ts";
import { readSimulator } from "./simulator.ts";
import { readTasks } from "./tasks.ts";
import { readTls } from "./tls.ts";

export { ConfigError, formatRows as formatConfig } from "../lib/env-reader.ts";

/** The configuration, read once at start. Durations are in milliseconds. */
export type Config = ReturnType<typeof readConfig> & { readonly rows: readonly EnvRow[] };

export type Role = "api" | "router" | "connector" | "realtime" | "tasks" | `connector:${string}`;

/**
 * Reads the process environment and the `.env` file of the working directory; where both set a variable, the process
 * wins. `envFile: null` reads no file; a file that does not exist counts as empty.
 * Throws one `ConfigError` that lists every missing, malformed and unknown variable.
 */
export function loadConfig(env: Env, options: { envFile?: string | null } = {}): Config {
  const file = options.envFile === null ? {} : readEnvFile(options.envFile ?? ".env");
  const read = envReader(mergeEnv(file, env));
  const config = readConfig(read);
  for (const problem of unknownVariables(env, file, { ...names, known: read.rows.map((row) => row.key) })) {
    read.problem(problem);
  }
  read.finish();
  return { ...config, rows: read.rows };
}

/** Every key with its meaning, default and current value; secrets show as `[secret]`. */
export function describeConfig(config: Config): readonly EnvRow[] {
  return config.rows;
}

function readConfig(read: EnvReader) {
  const port = read.value("PORT", kind.integer(0, 65_535), "8080", "Where the hub listens; 0 takes a free port.");
  const host = read.value("HOST", kind.text, "127.0.0.1", "The IP address to listen on; 0.0.0.0 for every network.");
  const roles = read.value(
    "ROLES",
    roleList,
    "all",
    `What this process does: ${allRoles.join(", ")}, connector:<channel>, simulator.`,
  );
  const databaseUrl = read.optional(
    "DATABASE_URL",
    kind.databaseUrl,
    "embedded",
    "A PostgreSQL 15 or newer to use instead of the embedded one.",
  );
  const config = {
    http: {
      port,
      host,
      publicUrl: read.value(
        "PUBLIC_URL",
        kind.webUrl,
        `http://localhost:${port}`,
        "The hub's public URL, used in the URLs of webhooks, in links in emails, for cookies and for the check of origins.",
      ),
      corsOrigins:
        read.optional("CORS_ORIGINS", kind.listOf(kind.origin), "none", "Origins whose pages may call the API.") ?? [],
      tls: readTls(read),
      trustedProxies: readTrustedProxies(read),
      admissionWaitMs: read.value(
        "ADMISSION_WAIT",
        kind.duration("10ms", "1m"),
        "500ms",
        "The longest expected wait for a response; beyond it, requests get 503.",
      ),
    },
    /** Absolute. */
    dataDir: resolve(
      read.value("DATA_DIR", kind.text, "./data", "The folder of the embedded database and the generated secrets."),
    ),
    database: {
      /** `null`: the embedded one. */
      url: databaseUrl,
      poolSize: read.value(
        "DATABASE_POOL_SIZE",
        kind.integer(2, 1000),
        "10",
        "The most connections in each of this process's two large pools, for requests and for the pipeline.",
      ),
    },
    files: readFiles(read),
    tasks: readTasks(read),
    llm: readLlm(read),
    /** `null`: processes notify each other through the database. */
    redisUrl: read.optional(
      "REDIS_URL",
      kind.redisUrl,
      "none",
      "A Redis or Valkey for notifications between processes and shared rate limits.",
    ),
    roles: roles.filter((role) => role !== "simulator"),
    simulator: readSimulator(read, { isWanted: databaseUrl === null || roles.includes("simulator") }),
    identity: {
      adminUsername: read.value(
        "ADMIN_USERNAME",
        kind.text,
        "admin",
        "The first admin's username, created in an empty database.",
      ),
      /** `null`: generated, and printed once. */
      adminPassword: read.optional(
        "ADMIN_PASSWORD",
        kind.secretText(8),
        "generated and printed once",
        "The first admin's password.",
      ),
      registration: readRegistration(read, host),
      accessTokenTtlMs: read.value(
        "ACCESS_TOKEN_TTL",
        kind.duration("1m", "1d"),
        "1h",
        "How long an access token works.",
      ),
      refreshTokenTtlMs: read.value(
        "REFRESH_TOKEN_TTL",
        kind.duration("1h", "365d"),
        "30d",
        "How long a refresh token works.",
      ),
      /** Beside username and password. */
      providers: readProviders(read),
    },
    limits: readLimits(read),
    secrets: readSecrets(read, { areRequired: databaseUrl !== null }),
    mail: readMail(read),
    logLevel: read.value(
      "LOG_LEVEL",
      kind.oneOf("trace", "debug", "info", "warn", "error", "fatal", "silent"),
      "info",
      "The lowest log level that is written.",
    ),
    accept: {
      batchSize: read.value("ACCEPT_BATCH_SIZE", kind.integer(1, 5000), "500", "The most messages in one commit."),
      queueSize: read.value(
        "ACCEPT_QUEUE_SIZE",
        kind.integer(1, 1_000_000),
        "10000",
        "Messages that may wait for a commit; beyond it, 503.",
      ),
      maxWaitMs: read.value(
        "ACCEPT_MAX_WAIT",
        kind.duration("10ms", "1m"),
        "1s",
        "How long the oldest waiting message may wait before new ones get 503.",
      ),
    },
    isFused:
      read.value(
        "FUSE",
        kind.oneOf("on", "off"),
        "on",
        "Whether a process that has the roles of several steps makes them in one commit.",
      ) === "on",
    delivery: {
      retryBaseMs: read.value(
        "DELIVERY_RETRY_BASE",
        kind.duration("10ms", "1h"),
        "1s",
        "The pause before the second attempt; it doubles with each.",
      ),
      retryMaxMs: read.value(
        "DELIVERY_RETRY_MAX",
        kind.duration("10ms", "1d"),
        "15m",
        "The longest pause between two attempts.",
      ),
      retryTotalMs: read.value(
        "DELIVERY_RETRY_TOTAL",
        kind.duration("1s", "30d"),
        "24h",
        "After this time without success a delivery becomes a dead letter.",
      ),
      timeoutMs: read.value(
        "DELIVERY_TIMEOUT",
        kind.duration("100ms", "5m"),
        "20s",
        "How long one request to a platform may take.",
      ),
      concurrency: read.value(
        "DELIVERY_CONCURRENCY",
        kind.integer(1, 10_000),
        "64",
        "Requests in flight for each channel account.",
      ),
      unknownGraceMs: read.value(
        "UNKNOWN_GRACE",
        kind.duration("100ms", "1d"),
        "30s",
        "How long an attempt without a response waits for a receipt before it is tried again.",
      ),
    },
    webhooks: {
      /** Whether webhook endpoints and the `base_url` of channel accounts may be on private IP addresses, and without TLS. */
      allowPrivate:
        (read.optional(
          "WEBHOOKS_ALLOW_PRIVATE",
          kind.oneOf("true", "false"),
          "true with the embedded database, else false",
          "Whether webhook endpoints and the base_url of channel accounts may be on private IP addresses, and without TLS.",
        ) ?? (databaseUrl === null ? "true" : "false")) === "true",
    },
    bus: {
      partitions: read.value(
        "BUS_PARTITIONS",
        kind.integer(1, 1024),
        "8",
        "Partitions of each topic: the most processes that can share a step.",
      ),
      leaseMs: read.value(
        "BUS_LEASE",
        kind.duration("500ms", "1m"),
        "4s",
        "How long a partition stays assigned to a process that does not respond.",
      ),
    },
    /** `null`: messages are kept. */
    messageRetentionMs: read.value(
      "MESSAGES_RETENTION",
      kind.wordOr("keep", kind.duration("7d", "36500d")),
      "keep",
      "How long messages are kept, with their deliveries and attempts.",
    ),
    events: {
      retentionMs: read.value(
        "EVENTS_RETENTION",
        kind.duration("1h", "3650d"),
        "30d",
        "How long events are kept for clients that reconnect.",
      ),
      maxClients: read.value(
        "EVENTS_MAX_CLIENTS",
        kind.integer(1, 1_000_000),
        "15000",
        "Sockets and event streams that one process serves; beyond it, 503.",
      ),
      limits: {
        perUser: read.value(
          "SOCKETS_PER_USER",
          kind.integer(1, 1_000_000),
          "50",
          "Sockets and event streams of one user with the API keys it made, in one process; beyond it, 429.",
        ),
        perAddress: read.value(
          "SOCKETS_PER_ADDRESS",
          kind.integer(1, 1_000_000),
          "500",
          "The same for one client IP address.",
        ),
      },
    },
    shutdownTimeoutMs: read.value(
      "SHUTDOWN_TIMEOUT",
      kind.duration("1s", "5m"),
      "8s",
      "How long the work in flight may take to end after SIGTERM.",
    ),
  };
  if (config.delivery.retryMaxMs < config.delivery.retryBaseMs) {
    read.problem("DELIVERY_RETRY_MAX is shorter than DELIVERY_RETRY_BASE: give a longer one.");
  }
  return config;
}

const allRoles = ["api", "router", "connector", "realtime", "tasks"] as const satisfies Role[];

const roleList = withAll(
  kind.listOf<Role | "simulator">({
    must: `some of ${allRoles.join(", ")}, connector:<channel>, simulator`,
    parse: (name) => [...allRoles, "simulator" as const].find((role) => role === name) ?? connectorRole(name),
  }),
);

function withAll(kind: EnvKind<(Role | "simulator")[]>): typeof kind {
  return {
    must: `all, or ${kind.must}`,
    parse: (value) => kind.parse(value.replace(/(?<=^|,)\s*all\s*(?=,|$)/, allRoles.join())),
  };
}

function connectorRole(name: string): Role | undefined {
  return /^connector:[a-z][a-z0-9_]*$/.test(name) ? (name as Role) : undefined;
}

const names: Omit<EnvNames, "known"> = {
  later: ["KAFKA_BROKERS", "CASSANDRA_CONTACT_POINTS", "S3_ENDPOINT"],
  families: [
    "ACCEPT_",
    "DELIVERY_",
    "BUS_",
    "RATE_LIMIT_",
    "WEBHOOKS_",
    "TASKS_",
    "CLAMAV_",
    "LLM_",
    "EVENTS_",
    "UNKNOWN_",
    "SIMULATOR_",
    "ADMIN_",
    "OAUTH_",
    "OIDC_",
  ],
};
