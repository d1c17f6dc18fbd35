import type { MediaStore, Upload } from "./media-store.ts";

/** Links that are fetched at once, and that wait for their turn. */
const maxFetches = 16;
const maxWaiting = 1_000;

export type FetchedLink =
  | { kind: "fetched"; upload: Upload; mimeType: string }
  | { kind: "refused"; status: number; statusText: string }
  | { kind: "failed"; reason: string };

interface FetchRules {
  /** A longer file is cut at one byte more. */
  maxBytes: number;
  timeoutMs: number;
  followsRedirects: boolean;
}

/** Fetches files that a business names by URL, as the platforms do. Close it to end the fetches under way. */
export class Links {
  readonly #store: MediaStore;
  readonly #closing = new AbortController();
  #fetches = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(store: MediaStore) {
    this.#store = store;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Never rejects. Keep or discard the upload. */
  async fetch(url: string, rules: FetchRules): Promise<FetchedLink> {
    if (this.#fetches >= maxFetches) {
      if (this.#waiting.length >= maxWaiting) return { kind: "failed", reason: "too many links wait to be fetched" };
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#fetches += 1;
    }
    try {
      return await this.#get(url, rules);
    } catch (error) {
      return { kind: "failed", reason: reasonOf(error) };
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#fetches -= 1;
    }
  }

  close(): void {
    this.#closing.abort(new Error("the simulator stops"));
  }

  async #get(url: string, { maxBytes, timeoutMs, followsRedirects }: FetchRules): Promise<FetchedLink> {
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(timeoutMs)]);
    const response = await fetch(url, { redirect: followsRedirects ? "follow" : "manual", signal });
    if (response.status >= 400) {
      await response.body?.cancel();
      return { kind: "refused", status: response.status, statusText: response.statusText };
    }
    const mimeType = response.headers.get("content-type")?.split(";", 1)[0]?.trim().toLowerCase();
    const upload = await this.#store.write(response.body ?? [], maxBytes);
    return { kind: "fetched", upload, mimeType: mimeType || "application/octet-stream" };
  }
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? cause.message : message;
}
