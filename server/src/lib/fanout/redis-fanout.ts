import type { Clock } from "../clock.ts";
import type { Log } from "../postgres.ts";
import { openRedis, unusableRedis } from "../redis.ts";
import type { Fanout } from "./fanout.ts";
import { Relay } from "./relay.ts";

interface RedisFanoutOptions {
  url: string;
  clock: Clock;
  log: Log;
  signal?: AbortSignal;
}

/** Larger payloads would save little and delay those behind them. */
const maxPayloadBytes = 32_000;

/** PUBLISH and SUBSCRIBE, over two connections of its own. Throws a `StartError` when Redis cannot be used. */
export async function openRedisFanout({ url, clock, log, signal }: RedisFanoutOptions): Promise<Fanout> {
  await using stack = new AsyncDisposableStack();
  const channel = redisChannel(url);
  const publisher = stack.use(await openRedis({ url, name: "chat4all-fanout", clock, log, signal }));
  const relay = new Relay({
    clock,
    log,
    maxPayloadBytes,
    async send(payloads) {
      await Promise.all(payloads.map((payload) => publisher.client.publish(channel, payload)));
    },
    close: () => opened.disposeAsync(),
  });
  const onReconnect = () => relay.reconnected();
  const listener = stack.use(
    await openRedis({ url, name: "chat4all-fanout-listener", clock, log, signal, onReconnect }),
  );
  await listener.client
    .subscribe(channel, (payload) => relay.receive(payload))
    .catch((error) => {
      throw unusableRedis(error);
    });
  const opened = stack.move();
  return relay;
}

/** Redis has no channels of one database only, so the number of the database is in the name. */
export function redisChannel(url: string): string {
  return `chat4all:${new URL(url).pathname.slice(1) || "0"}:fanout`;
}
