import { type FileHandle, open } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Clock } from "../lib/clock.ts";
import { type ProcessEnd, type ProcessLimits, runLimitedProcess } from "../lib/limited-process.ts";
import { DocumentError } from "./document-error.ts";
import type { ReadFailure } from "./process-message.ts";

interface Reading<Message> {
  /** The file that the process runs. */
  entry: URL;
  /** The file that it reads, open or by its path. */
  file: FileHandle | string;
  args: readonly string[];
  limits: Omit<ProcessLimits, "memoryBytes">;
  clock: Clock;
  signal?: AbortSignal | undefined;
  /** Throws when a message has another form. */
  parse(message: unknown): Message | { failure: ReadFailure };
  onMessage(message: Message): void;
}

/**
 * Reads a file in a process that may do nothing else, with 512 MiB of memory and the lowest priority. Returns the text that
 * it wrote. Throws a `DocumentError`, or the reason of `signal`.
 */
export async function readLimited<Message extends object>(reading: Reading<Message>): Promise<string> {
  const { entry, file, args, limits, clock, signal, parse, onMessage } = reading;
  let failure: ReadFailure | undefined;
  await using opened = typeof file === "string" ? await open(file, "r") : null;
  const ended = await runLimitedProcess({
    entry: fileURLToPath(entry),
    args: args.map((argument) => argument.slice(0, maxArgumentLength).replaceAll("\0", "")),
    inputFd: (opened ?? (file as FileHandle)).fd,
    mayRead: code,
    limits: { memoryBytes, ...limits },
    clock,
    signal,
    onMessage(message) {
      const sent = parse(message);
      if ("failure" in sent) failure = sent.failure;
      else onMessage(sent);
    },
  });
  if (ended.end !== "completed") throw errorOf(ended);
  if (failure !== undefined) throw new DocumentError(failure.code, failure.message, { cause: failure.trace });
  return ended.text;
}

/** The sources of the hub, the packages, and what says that the sources are modules. */
const code = ["../", "../../package.json", "../../node_modules/", "../../../node_modules/"].map((path) =>
  fileURLToPath(new URL(path, import.meta.url)),
);
const maxArgumentLength = 255;
const memoryBytes = 512 * 1024 * 1024;

function errorOf(ended: Exclude<ProcessEnd, { end: "completed" }>): Error {
  switch (ended.end) {
    case "memory":
      return new DocumentError("DOCUMENT_TOO_LARGE", "The document takes more memory than may be used to read it.");
    case "output":
      return new DocumentError("DOCUMENT_TOO_LARGE", "The document has more text than is read.");
    case "time":
      return new DocumentError("DOCUMENT_TIMEOUT", "The document takes longer than may be used to read it.");
    case "silent":
      return new DocumentError("DOCUMENT_TIMEOUT", "A part of the document takes too long to read.");
    case "crashed":
      return new DocumentError("DOCUMENT_CORRUPT", "The document cannot be read.", {
        cause: new Error(`${ended.signal}: ${ended.complaint}`),
      });
    case "failed":
      return new Error(`The process that reads documents failed: ${ended.complaint}`);
  }
}
