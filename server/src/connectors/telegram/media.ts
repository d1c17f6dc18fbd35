import { isObject } from "../../lib/json.ts";
import { cleanFilename, cleanId, cleanText } from "../clean.ts";
import { type Json, listAt, numberAt, objectAt, textAt } from "../json.ts";
import { type MediaKind, type PlatformFile, typeOf } from "../media.ts";

const mib = 1024 * 1024;
const maxCaptionLength = 1024;

/** Larger files of people cannot be fetched. Source: Telegram Bot API, `getFile`. */
export const maxDownloadBytes = 20 * mib;

interface TelegramMediaKind extends MediaKind {
  readonly method: string;
}

const audios = ["audio/mpeg", "audio/mp4", "audio/x-m4a"];

/**
 * The file is the part of the form that has the name of the kind. A photo that is too long or too wide is refused with
 * `PHOTO_INVALID_DIMENSIONS`: any file can be a document. Source: Telegram Bot API, Sending files.
 */
export const mediaKinds = [
  {
    kind: "photo",
    method: "sendPhoto",
    contentTypes: ["image/jpeg", "image/png"],
    maxBytes: 10 * mib,
    maxCaptionLength,
  },
  { kind: "video", method: "sendVideo", contentTypes: ["video/mp4"], maxBytes: 50 * mib, maxCaptionLength },
  { kind: "audio", method: "sendAudio", contentTypes: audios, maxBytes: 50 * mib, maxCaptionLength },
  { kind: "voice", method: "sendVoice", contentTypes: ["audio/ogg"], maxBytes: 50 * mib, maxCaptionLength },
  { kind: "document", method: "sendDocument", contentTypes: null, maxBytes: 50 * mib, maxCaptionLength },
] as const satisfies readonly TelegramMediaKind[];

/** The fields of the form beside the file. */
export function mediaFields(chatId: string, caption: string): Record<string, string> {
  const text = cleanText(caption, maxCaptionLength);
  return { chat_id: chatId, ...(text && { caption: text }) };
}

/** The more specific field first: an animation has a document of the same file. */
const fields = ["animation", "photo", "video", "video_note", "voice", "audio", "document", "sticker"] as const;

/** The file of a `Message`, of a photo the largest size; null when it has none. Source: Telegram Bot API, type `Message`. */
export function fileOf(message: Json): PlatformFile | null {
  const field = fields.find((key) => key in message);
  if (field === undefined) return null;
  const file = field === "photo" ? (listAt(message, "photo").filter(isObject).at(-1) ?? {}) : objectAt(message, field);
  const reference = cleanId(textAt(file, "file_id"));
  if (reference === "") return null;
  const bytes = numberAt(file, "file_size");
  return {
    reference,
    contentType: typeOf(textAt(file, "mime_type")) ?? typeOfField(field, file),
    filename: cleanFilename(textAt(file, "file_name")),
    bytes: Number.isSafeInteger(bytes) && bytes >= 0 ? bytes : null,
    checksum: null,
    caption: cleanText(textAt(message, "caption"), maxCaptionLength),
  };
}

/** Photos, round videos and stickers come without a type. */
function typeOfField(field: (typeof fields)[number], file: Json): string | null {
  if (field === "photo") return "image/jpeg";
  if (field === "video_note") return "video/mp4";
  if (field !== "sticker") return null;
  return file.is_animated === true ? "application/x-tgsticker" : file.is_video === true ? "video/webm" : "image/webp";
}

/** `file_path` of the result of `getFile`, valid for an hour; null unless it is a path below the bot's folder. */
export function filePath(result: Json): string | null {
  const path = textAt(result, "file_path");
  const isPath = /^[\w-][\w.-]*(?:\/[\w-][\w.-]*)*$/.test(path) && path.length <= 500;
  return isPath ? path : null;
}
