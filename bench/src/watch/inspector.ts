/** What V8's sampling profiler returns. Source: Chrome DevTools Protocol, domain Profiler. */
export interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number }; children?: number[] }[];
  /** The node at the top of the stack, at each sample. */
  samples: number[];
  /** Microseconds since the sample before. */
  timeDeltas: number[];
}

export interface MemoryFigures {
  rss: number;
  /** Objects of JavaScript, and what they hold outside of its heap. */
  heap: number;
}

interface Inspector {
  startProfile(): Promise<void>;
  stopProfile(): Promise<CpuProfile>;
  memory(): Promise<MemoryFigures>;
  close(): void;
}

/** In microseconds. */
export const samplingIntervalUs = 500;

/** Talks to the inspector of another Node process, so that exactly the measured time is profiled. */
export async function openInspector(url: string): Promise<Inspector> {
  const socket = new WebSocket(url);
  const waiting = new Map<number, (answer: { result?: unknown; error?: { message: string } }) => void>();
  let nextId = 1;
  socket.addEventListener("message", ({ data }) => {
    const answer = JSON.parse(String(data));
    waiting.get(answer.id)?.(answer);
    waiting.delete(answer.id);
  });
  socket.addEventListener("close", () => {
    for (const answer of waiting.values())
      answer({ error: { message: `the inspector at ${url} closed the connection` } });
    waiting.clear();
  });
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve(), { once: true });
    socket.addEventListener("error", () => reject(new Error(`no inspector at ${url}`)), { once: true });
  });

  function call(method: string, params: object = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = nextId++;
      if (socket.readyState !== WebSocket.OPEN) return reject(new Error(`no connection to the inspector at ${url}`));
      waiting.set(id, ({ result, error }) => (error ? reject(new Error(error.message)) : resolve(result)));
      socket.send(JSON.stringify({ id, method, params }));
    });
  }

  async function memory(): Promise<MemoryFigures> {
    await call("HeapProfiler.collectGarbage");
    const expression = "JSON.stringify(process.memoryUsage())";
    const { result } = (await call("Runtime.evaluate", { expression })) as { result: { value: string } };
    const { rss, heapUsed, external } = JSON.parse(result.value);
    return { rss, heap: heapUsed + external };
  }

  await call("Profiler.enable");
  await call("Profiler.setSamplingInterval", { interval: samplingIntervalUs });
  return {
    memory,
    startProfile: async () => void (await call("Profiler.start")),
    stopProfile: async () => ((await call("Profiler.stop")) as { profile: CpuProfile }).profile,
    close: () => socket.close(),
  };
}
