/** The process that reads one document: see `extractText`. */
import { fstatSync, readSync } from "node:fs";
import { inputFd, runLimited } from "../lib/limited-process-child.ts";
import { languageOf } from "./describe.ts";
import { type DocumentKind, headBytes, kindOf } from "./kinds.ts";
import type { ProcessMessage } from "./process-message.ts";
import { Progress } from "./progress.ts";
import { failureOf } from "./read-failure.ts";
import type { Facts, Source } from "./reader.ts";
import { shortTitle, TextOutput } from "./text-output.ts";

/** Each is loaded when it is needed: they are large. */
const readers: Record<DocumentKind, () => Promise<(source: Source) => Promise<Facts>>> = {
  pdf: async () => (await import("./readers/pdf.ts")).readPdf,
  archive: async () => (await import("./readers/office.ts")).readOffice,
  image: async () => (await import("./readers/image.ts")).readImage,
  html: async () => (await import("./readers/html.ts")).readHtml,
  email: async () => (await import("./readers/email.ts")).readEmail,
  markdown: async () => (await import("./readers/text.ts")).readMarkdown,
  text: async () => (await import("./readers/text.ts")).readText,
};

await runLimited(async ({ report, write }) => {
  const send = (message: ProcessMessage) => report(message);
  const [contentType = "", extension = ""] = process.argv.slice(2);
  const output = new TextOutput(write);
  try {
    const head = Buffer.alloc(headBytes);
    const length = readSync(inputFd, head, 0, headBytes, 0);
    const kind = kindOf(head.subarray(0, length), contentType, extension);
    const read = await readers[kind]();
    const { size } = fstatSync(inputFd);
    const source = {
      fd: inputFd,
      sizeBytes: size,
      contentType,
      output,
      progress: new Progress((progress) => send({ progress })),
    };
    const { title } = await read(source);
    output.end();
    send({
      result: {
        marks: output.marks,
        language: languageOf(output.sample),
        words: output.words,
        title: shortTitle(title ?? "") ?? null,
      },
    });
  } catch (error) {
    send({ failure: failureOf(error) });
  }
});
