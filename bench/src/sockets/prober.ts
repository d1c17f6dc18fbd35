import { openConnection } from "../load/connection.ts";
import { latencies } from "../load/latencies.ts";
import { makeRequest, numberOf } from "../load/requests.ts";
import { moved } from "../movement.ts";
import { sharedNow } from "../now.ts";
import { openSocketClient } from "./socket-client.ts";

export interface ProbeOptions {
  url: string;
  authorization: string;
  conversationId: string;
  first: number;
  warmUp: number;
  count: number;
  /** Between a received message and the next one, in milliseconds. */
  pauseMs: number;
}

export interface ProbeResult {
  sent: number;
  /** From the 202 to the frame, 0 for one that was there before; in milliseconds. */
  received: { p50: number; p99: number; max: number };
  /** From the request to its 202. */
  accepted: { p50: number; p99: number; max: number };
}

const textField = '"content":"';

/** One message after the other, each from its 202 until a socket of the same process receives it. */
export async function probe(options: ProbeOptions): Promise<ProbeResult> {
  const { url, authorization, conversationId, first, warmUp, count, pauseMs } = options;
  const { hostname: host, port } = new URL(url);
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  const fail = (why: string) => failed.reject(new Error(why));
  let receive = (_number: number) => {};
  let answer = (_status: number) => {};
  const ready = Promise.withResolvers<void>();
  const socket = openSocketClient({
    host,
    port: Number(port),
    localAddress: "127.0.0.1",
    authorization,
    cursor: null,
    onText(payload) {
      const text = payload.toString("latin1");
      if (text.includes('"type":"HELLO"')) ready.resolve();
      const at = text.indexOf(textField);
      if (at > 0) receive(numberOf(text.slice(at + textField.length)));
    },
    onEnded: fail,
  });
  const connection = await openConnection(
    { host, port: Number(port) },
    ({ status }) => answer(status),
    ({ message }) => fail(message),
  );
  const request = makeRequest({ url, authorization, conversationIds: [conversationId], batchSize: 1 });

  async function once(number: number): Promise<{ receivedMs: number; acceptedMs: number }> {
    const accepted = new Promise<number>((resolve) => {
      answer = (status) => (status === 202 ? resolve(sharedNow()) : fail(`A message got ${status}.`));
    });
    const received = new Promise<number>((resolve) => {
      receive = (receivedNumber) => {
        if (receivedNumber === number) resolve(sharedNow());
      };
    });
    const sentAt = sharedNow();
    connection.send(request.fill(number));
    const [acceptedAt, receivedAt] = await Promise.all([accepted, received]);
    return { receivedMs: Math.max(0, receivedAt - acceptedAt), acceptedMs: acceptedAt - sentAt };
  }

  const seen = { received: latencies(), accepted: latencies() };
  try {
    await Promise.race([ready.promise, failed.promise]);
    for (let index = 0; index < warmUp + count; index += 1) {
      const { receivedMs, acceptedMs } = await Promise.race([once(first + index), failed.promise]);
      moved("a message that a socket received");
      if (index >= warmUp) {
        seen.received.add(receivedMs);
        seen.accepted.add(acceptedMs);
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  } finally {
    socket.cut();
    connection.close();
  }
  return { sent: warmUp + count, received: seen.received.summary(), accepted: seen.accepted.summary() };
}
