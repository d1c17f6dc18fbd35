import { openDatabases } from "../databases.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import { openHttpClient } from "../lib/http.ts";
import type { Log } from "../lib/postgres.ts";
import { one, run } from "../lib/query.ts";
import { openMemoryRateLimits } from "../lib/rate-limits/memory-rate-limits.ts";
import { Secret } from "../lib/secret.ts";
import {
  type Asker,
  type LlmConfig,
  openLanguageModel,
  type Summary,
  type SummaryOptions,
  summarize,
} from "../summaries/summaries.ts";
import { patient } from "./patience.ts";
import { startTestLanguageModel } from "./test-language-model.ts";
import { addUser, addWorkspace, openTestPool } from "./test-people.ts";

/** The moment at which the clock of a test stands first. */
export const startMs = Date.parse("2026-11-30T18:00:00.000Z");

/** A user, a language model, and what summarizes with it; waits end at once, and are recorded. */
export async function startSummaryTest(options: Parameters<typeof startTestLanguageModel>[0] = {}) {
  await using stack = new AsyncDisposableStack();
  const { pool, url } = stack.use(await openTestPool());
  const log: string[] = [];
  const write = (fields: object, message: string) => void log.push(JSON.stringify({ ...fields, message }));
  const logger: Log = { info: write, warn: write, error: write };
  const { pipelineDb: db } = stack.use(openDatabases({ url, size: 10, log: logger }));
  const model = stack.use(await startTestLanguageModel(options));
  const { http } = stack.adopt(openHttpClient({ connectionsPerHost: 10, allowPrivate: true }), (it) => it.close());
  const workspaceId = await addWorkspace(pool);
  const { userId } = await addUser(pool, workspaceId, "Ana");
  let nowMs = startMs;
  const waits: number[] = [];
  const clock: Clock = {
    now: () => nowMs,
    elapsed: () => nowMs,
    after(delayMs, callback) {
      waits.push(delayMs);
      return systemClock.after(0, () => {
        nowMs += delayMs;
        callback();
      });
    },
  };
  const limits = openMemoryRateLimits(clock);
  const usual: LlmConfig = {
    baseUrl: model.url,
    apiKey: new Secret("sk-hub"),
    model: "small",
    contextTokens: 32_000,
    timeoutMs: patient(20_000),
    requestLimit: null,
    tokensPerDay: null,
  };
  const opened = stack.move();
  return {
    model,
    log,
    waits,
    clock,
    pass(ms: number) {
      nowMs += ms;
    },
    summarize(
      text: string,
      { config = {}, asker = {}, ...more }: Partial<SummaryOptions> & Overrides = {},
      { signal = new AbortController().signal, onProgress = (_: number) => {} } = {},
    ): Promise<Summary> {
      const deps = { http, db, limits, clock, random: () => 1, log: logger };
      const language = openLanguageModel({ ...deps, config: { ...usual, ...config } });
      const user = language.for({ workspaceId, userId, ownKey: null, model: null, ...asker });
      const wanted: SummaryOptions = { style: "paragraph", maxWords: 100, language: null, ...more };
      return summarize(text, wanted, { model: user, textLanguage: "en", clock, signal, onProgress });
    },
    /** What the user has used on the day of the clock. */
    async usage(): Promise<{ requests: number; tokens: number; ownKeyTokens: number }> {
      const row = await one<{ requests: number; tokens: string; own: string }>(
        pool,
        `SELECT coalesce(sum(requests), 0)::integer AS requests, coalesce(sum(tokens), 0) AS tokens,
           coalesce(sum(own_key_tokens), 0) AS own FROM llm_usage WHERE user_id = $1 AND day = $2`,
        [userId, new Date(nowMs).toISOString().slice(0, 10)],
      );
      return { requests: row.requests, tokens: Number(row.tokens), ownKeyTokens: Number(row.own) };
    },
    age: (days: number) => run(pool, "UPDATE llm_usage SET day = day - $1::integer", [days]),
    db,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

interface Overrides {
  config?: Partial<LlmConfig>;
  asker?: Partial<Asker>;
}
