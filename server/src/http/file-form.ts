import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import { Busboy, type BusboyInstance } from "@fastify/busboy";
import { invalid, RequestError } from "../errors.ts";
import { wrongContentType } from "./errors.ts";

/** A form with one file, whose bytes are still arriving. */
export interface FileForm {
  filename: string | undefined;
  /** Read it to its end or destroy it. It fails, with any error, when the form is cut off or wrong: see `failure`. */
  content: Readable;
  /** What is wrong with the form, as far as it was read; else null. */
  failure: () => RequestError | null;
  /** Fields that came before the file. */
  earlyFields: Readonly<Record<string, string>>;
  /** All of them. Wait for it when `content` has ended; it rejects when that fails. */
  fields: Promise<Readonly<Record<string, string>>>;
}

interface FormOptions {
  /** The name of the part with the file. */
  fileField: string;
  maxFileBytes: number;
  /** For a form that is longer than any may be. */
  tooLarge: () => RequestError;
}

/** Bounds of everything but the file. Fields are short; a browser sends three headers a part. */
const limits = { files: 1, fields: 10, parts: 11, fieldSize: 1024, headerPairs: 20, headerSize: 8 * 1024 };
/** Beside the file: all headers and fields, and what may surround them. */
const otherBytes = 128 * 1024;

/** Waits for the file. VALIDATION_ERROR, CONTENT_TYPE_INVALID, and `tooLarge`. */
export async function readFileForm(
  request: IncomingMessage,
  { fileField, maxFileBytes, tooLarge }: FormOptions,
): Promise<FileForm> {
  const opened = Promise.withResolvers<FileForm>();
  const ended = Promise.withResolvers<Record<string, string>>();
  // Who waits for it may have failed before.
  ended.promise.catch(() => {});
  const maxBytes = maxFileBytes + otherBytes;
  if (Number(request.headers["content-length"]) > maxBytes) throw tooLarge();
  const parser = openParser(request, fileField, maxFileBytes);
  const fields = new Map<string, string>();
  let content: Readable | null = null;
  let received = 0;
  let failure: RequestError | null = null;

  function fail(error: RequestError): void {
    failure ??= error;
    stop(error);
  }
  function stop(error: Error): void {
    request.unpipe(parser);
    // So that the client reads the response; its connection is closed if it sends much more.
    request.resume();
    content?.destroy(error);
    opened.reject(error);
    ended.reject(error);
  }
  const cutOff = () => fail(invalid("The form was cut off before its end."));

  parser.on("field", (name, value, _isNameCut, isCut) => {
    if (isCut) fail(invalid(`The field ${name} of the form is too long.`, { field: name }));
    else if (fields.has(name)) fail(invalid(`The form has the field ${name} twice.`, { field: name }));
    else fields.set(name, value);
  });
  parser.on("file", (_name, stream, filename: string | undefined) => {
    content = stream;
    // The parser emits an error at a file that is cut off, after its own error, and does not destroy it.
    stream.on("error", stop);
    stream.on("close", () => {
      if (!stream.readableEnded) stop(new Error("The file is not read to its end."));
    });
    const earlyFields = Object.fromEntries(fields);
    opened.resolve({ filename, content: stream, failure: () => failure, earlyFields, fields: ended.promise });
  });
  parser.on("filesLimit", () => fail(invalid(`The form has the file ${fileField} twice.`, { field: fileField })));
  for (const limit of ["fieldsLimit", "partsLimit"] as const) {
    parser.on(limit, () => fail(invalid("The form has too many parts.")));
  }
  parser.on("error", cutOff);
  parser.on("finish", () => {
    opened.reject(invalid(`The form needs the file ${fileField}.`, { field: fileField }));
    ended.resolve(Object.fromEntries(fields));
  });
  request.on("error", cutOff);
  request.on("close", () => {
    if (!request.complete) cutOff();
  });
  request.on("data", (chunk: Buffer) => {
    received += chunk.length;
    if (received > maxBytes) fail(tooLarge());
  });
  request.pipe(parser);
  return opened.promise;
}

function openParser({ headers }: IncomingMessage, fileField: string, maxFileBytes: number): BusboyInstance {
  const { "content-type": contentType = "" } = headers;
  if (!/^multipart\/form-data *(;|$)/i.test(contentType)) throw wrongContentType("multipart/form-data");
  try {
    return new Busboy({
      headers: { ...headers, "content-type": contentType },
      // One byte more than who reads it accepts, which notices.
      limits: { ...limits, fileSize: maxFileBytes + 1 },
      isPartAFile: (name) => name === fileField,
    });
  } catch (cause) {
    throw new RequestError("VALIDATION_ERROR", "The content type of the form has no valid boundary.", { cause });
  }
}
