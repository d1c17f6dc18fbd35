import { createClient, ErrorReply } from "@redis/client";
import { type Backoff, doubledMs } from "./backoff.ts";
import { type Clock, pause } from "./clock.ts";
import type { Log } from "./postgres.ts";
import { StartError } from "./start-error.ts";
import { startTimeoutMs } from "./start-progress.ts";

interface RedisOptions {
  url: string;
  /** Without spaces. */
  name: string;
  clock: Clock;
  log: Log;
  onReconnect?: () => void;
  signal?: AbortSignal;
}

/** Reconnects. Safe to dispose twice. */
export interface Redis extends AsyncDisposable {
  /** A command fails at once while disconnected; on a server that hangs it may take `silenceMs`. */
  readonly client: RedisClient;
}

export type RedisClient = ReturnType<typeof createClientFor>;

const connectTimeoutMs = 5_000;
const reconnectBackoff: Backoff = { firstMs: 50, longestMs: 2_000 };
/** A connection is pinged every `pingMs`; after `silenceMs` without data it is closed and opened again. */
const pingMs = 2_000;
const silenceMs = 5_000;

/** Throws a `StartError` when Redis cannot be reached or refuses the connection. */
export async function openRedis({ url, name, clock, log, onReconnect, signal }: RedisOptions): Promise<Redis> {
  let isStarting = true;
  let isAway = false;
  let lastError: Error | undefined;
  const client = createClientFor(url, name, (retries, cause) => {
    // A wrong password does not become right; later the operator may be about to change it.
    if (isStarting && cause instanceof ErrorReply) return cause;
    return doubledMs(reconnectBackoff, retries + 1);
  });
  client.on("error", (error: Error) => {
    lastError = error;
    if (!isAway)
      log.warn({ reason: reasonOf(error), name }, "Redis cannot be reached: the hub keeps trying to connect");
    isAway = true;
  });
  client.on("ready", () => {
    if (isAway) log.info({ name }, "connected to Redis again");
    if (!isStarting) onReconnect?.();
    isAway = false;
    isStarting = false;
  });
  const connecting = client.connect().then(
    () => true,
    () => false,
  );
  const isConnected = await Promise.race([connecting, pause(clock, startTimeoutMs, signal).then(() => false)]);
  if (!isConnected) {
    client.destroy();
    signal?.throwIfAborted();
    throw unusableRedis(lastError);
  }
  return {
    client,
    async [Symbol.asyncDispose]() {
      client.destroy();
    },
  };
}

export function unusableRedis(error: Error | undefined): StartError {
  const sentence = `The Redis of REDIS_URL cannot be used (${reasonOf(error)}): start it, or correct the URL.`;
  return new StartError(sentence, { cause: error });
}

function createClientFor(
  url: string,
  name: string,
  reconnectStrategy: (retries: number, cause: Error) => number | Error,
) {
  return createClient({
    url,
    name,
    RESP: 2,
    maintNotifications: "disabled",
    disableOfflineQueue: true,
    // Each would cost a timer; what hangs is noticed by the ping.
    commandOptions: { timeout: 0 },
    pingInterval: pingMs,
    socket: { connectTimeout: connectTimeoutMs, socketTimeout: silenceMs, reconnectStrategy },
  });
}

function reasonOf(error: Error | undefined): string {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return error?.message || code || "no response";
}
