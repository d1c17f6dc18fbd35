/** The process that describes one file: see `describeFile`. */
import { fstatSync } from "node:fs";
import { inputFd, runLimited } from "../../lib/limited-process-child.ts";
import { failureOf } from "../read-failure.ts";
import { type FactsMessage, noFacts } from "./facts-message.ts";
import { findSource } from "./sources.ts";

await runLimited(async ({ report, write }) => {
  const send = (message: FactsMessage) => report(message);
  try {
    const [contentType = ""] = process.argv.slice(2);
    const describe = await findSource(contentType)!.load();
    const file = { fd: inputFd, sizeBytes: fstatSync(inputFd).size };
    const { thumbnail, ...facts } = await describe(file, contentType);
    if (thumbnail !== undefined) write(Buffer.from(thumbnail).toString("base64"));
    send({ facts: { ...noFacts, ...facts } });
  } catch (error) {
    send({ failure: failureOf(error) });
  }
});
