import type { MessagePayload } from "../../../../contract/src/payloads.ts";
import type { Capabilities, OutboundFile } from "../../connectors/connector.ts";
import { mediaKindOf } from "../../connectors/media.ts";
import { type FileToSend, sizeOf } from "../../files/files.ts";
import { plainName } from "../../lib/names.ts";
import { splitText } from "../split-text.ts";
import type { StartedDelivery } from "./start-attempts.ts";

/** One request to the platform. */
export interface Part {
  payload: MessagePayload;
  file: OutboundFile | null;
  /** What is sent when the platform refuses the file itself. */
  instead: readonly Part[];
}

type KnownFile = Exclude<FileToSend, { kind: "pending" | "gone" }>;
type FilePayload = MessagePayload & { type: "file" };

/** What a message becomes on a channel. A file that the channel does not take is a link to its page. Pure. */
export function toParts(
  { payload, author }: Pick<StartedDelivery, "payload" | "author">,
  capabilities: Pick<Capabilities, "maxTextLength" | "media">,
  file: KnownFile | null,
): Part[] {
  const texts = (text: string) =>
    splitText(text, capabilities.maxTextLength).map((each) => partOf({ type: "text", text: each }));
  if (payload.type === "text") return texts(withAuthor(author, payload.text));
  if (payload.type !== "file" || file === null) return [partOf(payload)];
  const caption = withAuthor(author, payload.caption ?? "");
  const lines = (...parts: string[]) => texts(parts.filter((part) => part !== "").join("\n"));
  if (file.kind === "late") return lines(caption, file.filename, file.link());
  if (file.kind === "rejected") return lines(caption, `[${file.filename}]`);
  const linked = (words: string) => lines(words, `${file.filename} (${sizeOf(file.bytes)})`, file.link());
  const kind = mediaKindOf(capabilities.media, file);
  if (kind === null) return linked(caption);
  const outbound = { ...file, kind: kind.kind };
  if (caption.length <= kind.maxCaptionLength) return [withFile(payload, caption, outbound, linked(caption))];
  return [...texts(caption), withFile(payload, "", outbound, linked(""))];
}

function partOf(payload: MessagePayload): Part {
  return { payload, file: null, instead: [] };
}

function withFile({ type, file_id }: FilePayload, caption: string, file: OutboundFile, instead: readonly Part[]): Part {
  return { payload: { type, file_id, ...(caption !== "" && { caption }) }, file, instead };
}

function withAuthor(author: string | null, text: string): string {
  // Names are checked on input; an old name is cleaned here.
  return author === null ? text : `${plainName(author) ?? "?"}: ${text}`.trimEnd();
}
