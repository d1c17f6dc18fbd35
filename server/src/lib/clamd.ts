import { connect } from "node:net";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** Where clamd listens. */
export type ClamdAddress = { host: string; port: number } | { path: string };

export type ScanResult =
  | { kind: "clean" }
  | { kind: "infected"; signature: string }
  /** clamd takes fewer bytes (`StreamMaxLength`), or did not look at all that is in them (with `AlertExceedsMax`). */
  | { kind: "too_large" }
  /** clamd cannot scan these bytes: what it says. */
  | { kind: "failed"; message: string };

/** clamd cannot be reached, does not respond, or ended the connection: try later. */
export class ClamdUnavailable extends Error {
  override readonly name = "ClamdUnavailable";
}

export interface ClamdLimits {
  /** How long nothing may move while bytes are sent, in milliseconds. */
  silenceMs: number;
  /** From the last byte to the response, in milliseconds. */
  scanMs: number;
}

/** As long as clamd's own `MaxScanTime`, twice over: scans may have to wait for one another. */
const usualLimits: ClamdLimits = { silenceMs: 30_000, scanMs: 240_000 };

/** A client of ClamAV's daemon. Source: `man clamd`, "Commands". */
export class Clamd {
  readonly #address: ClamdAddress;
  readonly #limits: ClamdLimits;

  constructor(address: ClamdAddress, limits = usualLimits) {
    this.#address = address;
    this.#limits = limits;
  }

  /**
   * Streams the bytes to clamd as fast as it takes them, and destroys `source`. Throws `ClamdUnavailable`, an error of
   * `source`, or the reason of `signal`.
   */
  async scan(source: Readable, signal?: AbortSignal): Promise<ScanResult> {
    let sentBytes = 0;
    let isWhole = false;
    let sourceError: unknown;
    async function* message() {
      yield instream;
      try {
        for await (const chunk of source as AsyncIterable<Buffer>) {
          // One without bytes would be the end.
          if (chunk.length === 0) continue;
          sentBytes += chunk.length;
          yield lengthOf(chunk.length);
          yield chunk;
        }
      } catch (error) {
        sourceError = error;
        throw error;
      }
      isWhole = true;
      yield lengthOf(0);
    }
    try {
      const result = resultOf(await this.#ask(message(), signal));
      if (result.kind === "clean" && !isWhole) throw new ClamdUnavailable("clamd did not read the whole file.");
      return result;
    } catch (error) {
      if (sourceError !== undefined) throw sourceError;
      // When there is too much, clamd responds and resets the connection: the response may be lost.
      if (error instanceof ClamdUnavailable && (await this.#refuses(sentBytes, signal))) return { kind: "too_large" };
      throw error;
    } finally {
      source.destroy();
    }
  }

  /** Throws `ClamdUnavailable`, or the reason of `signal`. */
  async check(signal?: AbortSignal): Promise<void> {
    const response = await this.#ask(["zPING\0"], signal);
    if (response !== "PONG") throw new ClamdUnavailable(`clamd responds to PING with ${response}.`);
  }

  /** Announces so many bytes and sends none of them: clamd responds at once when it would not take them. */
  async #refuses(bytes: number, signal?: AbortSignal): Promise<boolean> {
    const response = await this.#ask([instream, lengthOf(bytes)], signal, { end: true }).catch(() => "");
    signal?.throwIfAborted();
    return response.startsWith(sizeExceeded);
  }

  /** Returns the response, which may come before all of the message is sent. */
  async #ask(
    message: Iterable<string | Buffer> | AsyncIterable<string | Buffer>,
    signal?: AbortSignal,
    { end = false } = {},
  ): Promise<string> {
    signal?.throwIfAborted();
    let response = "";
    let failure: unknown;
    const socket = connect({ ...this.#address, ...(signal && { signal }) });
    socket.on("error", (error) => {
      failure = error;
    });
    socket.setEncoding("latin1").on("data", (text) => {
      response += text;
      if (response.length > maxResponseLength) socket.destroy(new Error("clamd sends too much."));
      else if (response.endsWith("\0")) socket.destroy();
    });
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    const limit = (ms: number) => socket.setTimeout(ms, () => socket.destroy(new Error("clamd does not respond.")));
    limit(this.#limits.silenceMs);
    try {
      await pipeline(message, socket, { end });
      limit(this.#limits.scanMs);
    } catch (error) {
      failure ??= error;
      socket.destroy();
    }
    await closed;
    signal?.throwIfAborted();
    if (response.endsWith("\0") && response.length <= maxResponseLength)
      return response.replaceAll(/[^\x20-\x7e]/g, "");
    throw new ClamdUnavailable("clamd cannot be used now.", { cause: failure });
  }
}

const instream = "zINSTREAM\0";
const sizeExceeded = "INSTREAM size limit exceeded";
const maxResponseLength = 4_096;

function lengthOf(bytes: number): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes);
  return length;
}

function resultOf(response: string): ScanResult {
  if (response === "stream: OK") return { kind: "clean" };
  const signature = /^stream: (.+) FOUND$/.exec(response)?.[1];
  if (signature?.startsWith("Heuristics.Limits.Exceeded")) return { kind: "too_large" };
  if (signature !== undefined) return { kind: "infected", signature };
  if (response.startsWith(sizeExceeded)) return { kind: "too_large" };
  return { kind: "failed", message: response };
}
