import { connect, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { Chance } from "./chance.ts";

/**
 * A TCP proxy that delays data in both directions, in order, like a distant network. `delayMs` is called for each
 * chunk.
 */
export async function openSlowNetwork(targetPort: number, delayMs: () => number) {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(targetPort, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket.setNoDelay(true));
      socket.on("error", () => {}).on("close", () => sockets.delete(socket));
    }
    passOn(near, far, delayMs);
    passOn(far, near, delayMs);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Keeps the order, even if a later chunk has a shorter delay. */
function passOn(from: Socket, to: Socket, delayMs: () => number): void {
  let before = Promise.resolve();
  const later = (act: () => void) => {
    const waited = delay(Math.max(0, delayMs()));
    before = before.then(() => waited).then(act);
  };
  from.on("data", (chunk) => later(() => void (to.destroyed || to.write(chunk))));
  from.on("end", () => later(() => to.end()));
  from.on("close", () => later(() => to.destroy()));
}

/** `latencyMs`, randomly up to a quarter more or less. */
export function jitter(chance: Chance, latencyMs: number): () => number {
  return () => latencyMs * (0.75 + chance.next() / 2);
}
