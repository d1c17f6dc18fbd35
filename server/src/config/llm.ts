import * as kind from "../lib/env-kinds.ts";
import type { EnvReader } from "../lib/env-reader.ts";
import { rateLimit } from "./limits.ts";

/** The language model for summaries; `null`: summaries are made on this machine, of sentences of the text. */
export function readLlm(read: EnvReader) {
  const baseUrl = read.optional(
    "LLM_BASE_URL",
    kind.webUrl,
    "none",
    "An OpenAI-compatible endpoint for summaries. It may be on a private IP address.",
  );
  const apiKey = read.optional(
    "LLM_API_KEY",
    kind.secretText(1),
    "none",
    "The key for it, unless users have their own.",
  );
  const model = read.optional(
    "LLM_MODEL",
    kind.text,
    "none",
    "The model to use, unless a user or a request names one.",
  );
  const settings = {
    apiKey,
    contextTokens: read.value(
      "LLM_CONTEXT_TOKENS",
      kind.integer(4_000, 10_000_000),
      "32000",
      "The tokens of one request and its response: longer documents are sent in parts.",
    ),
    timeoutMs: read.value("LLM_TIMEOUT", kind.duration("1s", "4m"), "1m", "How long one request to it may take."),
    /** `null`: no limit. */
    requestLimit: read.value(
      "LLM_RATE_LIMIT",
      rateLimit,
      "60/m",
      "Rate limit of requests to it for each user; summaries wait for their turn.",
    ),
    /** `null`: no limit. */
    tokensPerDay: read.value(
      "LLM_TOKENS_PER_DAY",
      kind.wordOr("off", kind.integer(1_000, 1_000_000_000_000)),
      "2000000",
      "The most tokens that a user may use in a day, in UTC, with the hub's key.",
    ),
  };
  if (baseUrl === null) {
    for (const key of ["LLM_API_KEY", "LLM_MODEL"]) {
      if (read.isSet(key)) read.problem(`${key} is set without LLM_BASE_URL: give the endpoint, or leave both out.`);
    }
    return null;
  }
  if (model === null) {
    read.problem("LLM_BASE_URL needs LLM_MODEL: give the name of a model of that endpoint.");
    return null;
  }
  return { baseUrl, model, ...settings };
}
