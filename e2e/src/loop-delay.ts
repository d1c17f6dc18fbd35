import { Worker } from "node:worker_threads";
import type { Sent } from "./request-of-table.ts";
import { threadCpuMs } from "./thread-cpu.ts";

/**
 * Longest that one request may hold the event loop, in milliseconds, on a machine at least as quick as the README's.
 */
const maxHoldMs = 20;
/** The same on a slower machine, as a multiple of `referenceMs`, which is 3 ms on the README's machine. */
const maxHoldOfReference = 7;
/** Most tries: one may contain a garbage collection. */
const maxTries = 30;

/** Frames on a new socket, followed by a ping, whose response shows that all were handled. */
export interface Said {
  /** URL of the socket, with the credential. */
  socketUrl: string;
  frames: readonly string[];
  /** Waits for as many frames of these types, or for the end of the socket: by default for the response to the ping. */
  until?: { type: string; count: number };
}

/** The thread of a client: it sends the requests, so that the work of sending is not measured. */
const clientThread = `
  const { parentPort } = require("node:worker_threads");
  function talk(id, { socketUrl, frames, until = { type: "PONG", count: 1 } }) {
    const received = [];
    let length = 0;
    let awaited = until.count;
    const socket = new WebSocket(socketUrl);
    socket.onopen = () => { for (const frame of [...frames, '{"type":"ping"}']) socket.send(frame); };
    const end = (status) => {
      socket.onclose = socket.onmessage = null;
      socket.close();
      parentPort.postMessage({ id, status, length, text: received.join(" ").slice(0, 2_000) });
    };
    socket.onmessage = ({ data }) => {
      length += data.length;
      const type = /"type":"([A-Z_]+)"/.exec(data.slice(0, 100))[1];
      received.push(type === "ERROR" ? data : type);
      if (type === until.type && (awaited -= 1) === 0) end(200);
    };
    socket.onclose = ({ code, reason }) => { received.push(reason); end(code); };
  }
  parentPort.on("message", async ({ id, url, method, headers, body, ...said }) => {
    if (said.socketUrl !== undefined) return talk(id, said);
    try {
      const send = () => fetch(url, { method, headers, body });
      // The hub closes a connection after it has refused a body early: a request that was sent on it is sent again.
      const answer = await send().catch((error) => (error.cause?.code === "EPIPE" ? send() : Promise.reject(error)));
      const text = await answer.text();
      parentPort.postMessage({ id, status: answer.status, length: text.length, text: text.slice(0, 2_000) });
    } catch (error) {
      parentPort.postMessage({ id, status: 0, length: 0, text: String(error.cause ?? error) });
    }
  });
`;

interface Answered {
  status: number;
  /** Length of the body, in characters. */
  length: number;
  /** The beginning of the body. */
  text: string;
}

/** Sends requests to the hub of this process and measures how long they hold its event loop. */
export function openLoopMeter() {
  const worker = new Worker(clientThread, { eval: true });
  const waiting = new Map<number, (answer: Answered) => void>();
  worker.on("message", ({ id, ...answer }: Answered & { id: number }) => waiting.get(id)?.(answer));
  let lastId = 0;

  async function send(request: Sent | Said): Promise<Answered> {
    lastId += 1;
    const id = lastId;
    const answered = new Promise<Answered>((resolve) => waiting.set(id, resolve));
    worker.postMessage({ id, ...request });
    return answered.finally(() => waiting.delete(id));
  }

  return {
    send,
    /**
     * Returns the response, the longest hold of the best try, and the limit on this machine at present, both in
     * milliseconds. Stops at the first try within the limit, so every try must cost the hub the same.
     */
    async measure(request: Sent | Said, settled?: () => Promise<void>, tries = maxTries) {
      let heldMs = Number.POSITIVE_INFINITY;
      let allowedMs = maxHoldMs;
      let answer: Answered | undefined;
      for (let attempt = 1; attempt <= tries && heldMs > allowedMs; attempt += 1) {
        if (attempt > 1) allowedMs = Math.max(allowedMs, allowedHoldMs());
        const stop = watchLoop();
        answer = await send(request);
        await settled?.();
        heldMs = Math.min(heldMs, stop());
      }
      return { answer: answer!, heldMs, allowedMs };
    },
    async [Symbol.asyncDispose]() {
      await worker.terminate();
    },
  };
}

/** Makes turns of the event loop follow one another at once: the CPU time between two is how long it was held. */
function watchLoop(): () => number {
  let longestMs = 0;
  let last = threadCpuMs();
  let isOver = false;
  const turn = () => {
    const now = threadCpuMs();
    longestMs = Math.max(longestMs, now - last);
    last = now;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  return () => {
    isOver = true;
    return Math.max(longestMs, threadCpuMs() - last);
  };
}

/** How long one request may hold the event loop on this machine as it is now, in milliseconds. */
export function allowedHoldMs(): number {
  return Math.max(maxHoldMs, maxHoldOfReference * referenceMs());
}

/** A batch of 1,000 messages with 30 fields each. */
const referenceBody = JSON.stringify({
  messages: Array.from({ length: 1_000 }, (_, index) =>
    Object.fromEntries(Array.from({ length: 28 }, (_, field) => [`field_${index}_${field}`, field])),
  ),
});

/** How long this machine takes to parse that: the median of several, in CPU time. */
function referenceMs(): number {
  const rounds = Array.from({ length: 5 }, () => {
    const start = threadCpuMs();
    JSON.parse(referenceBody);
    return threadCpuMs() - start;
  });
  return rounds.toSorted((one, other) => one - other)[2]!;
}
