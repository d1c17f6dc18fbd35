import { cleanFilename, cleanId, cleanText } from "../clean.ts";
import { type Json, numberAt, objectAt, textAt } from "../json.ts";
import { type MediaKind, type PlatformFile, typeOf } from "../media.ts";

const mib = 1024 * 1024;
const maxCaptionLength = 1024;
const maxFilenameLength = 255;

const images = ["image/jpeg", "image/png"];
const audios = ["audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"];
const videos = ["video/mp4", "video/3gpp"];

/**
 * The platform refuses uploads of other types, `text/csv` and `application/zip` among them. A sticker is not sent: it
 * has no caption, and is no picture to look at. Source: Cloud API, Media, "Supported media types".
 */
export const mediaKinds = [
  { kind: "image", contentTypes: images, maxBytes: 5 * mib, maxCaptionLength },
  { kind: "audio", contentTypes: audios, maxBytes: 16 * mib, maxCaptionLength: 0 },
  { kind: "video", contentTypes: videos, maxBytes: 16 * mib, maxCaptionLength },
  {
    kind: "document",
    contentTypes: [
      ...["text/plain", "application/pdf"],
      ...["application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"],
      "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
      "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
      "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ],
    maxBytes: 100 * mib,
    maxCaptionLength,
  },
] as const satisfies readonly MediaKind[];

type OutboundKind = (typeof mediaKinds)[number]["kind"];

/** The fields beside the file of `POST /{phone_number_id}/media`. The part of the file must have its type too. */
export function uploadFields(contentType: string): Record<string, string> {
  return { messaging_product: "whatsapp", type: contentType };
}

/** The media id in the response to an upload; null when there is none. */
export function uploadedId(response: Json): string | null {
  return mediaId(textAt(response, "id"));
}

/** `type` and the object of that name for `/messages`. A caption is left out where the kind has none. */
export function mediaContent(
  kind: OutboundKind,
  source: { id: string } | { link: string },
  about: { filename: string; caption: string },
): { type: OutboundKind; object: object } {
  const limit = mediaKinds.find((one) => one.kind === kind)!.maxCaptionLength;
  const caption = cleanText(about.caption, limit);
  const filename = kind === "document" ? cleanText(about.filename, maxFilenameLength) : "";
  return { type: kind, object: { ...source, ...(filename && { filename }), ...(caption && { caption }) } };
}

/** The file of an element of `messages[]`; null when it has none. Source: Cloud API, Webhooks, messages. */
export function fileOf(message: Json): PlatformFile | null {
  const type = textAt(message, "type");
  if (!["image", "audio", "video", "document", "sticker"].includes(type)) return null;
  const object = objectAt(message, type);
  const reference = mediaId(textAt(object, "id"));
  if (reference === null) return null;
  return {
    reference,
    contentType: typeOf(textAt(object, "mime_type")),
    filename: cleanFilename(textAt(object, "filename")),
    bytes: null,
    checksum: checksumOf(textAt(object, "sha256")),
    caption: cleanText(textAt(object, "caption"), maxCaptionLength),
  };
}

interface MediaObject {
  /** Valid for 5 minutes, and only with the token of the account. Never returned or logged. */
  url: string;
  contentType: string | null;
  bytes: number | null;
  checksum: string | null;
}

/** The response to `GET /{media_id}`; null when it has no URL. Source: Cloud API, Media. */
export function mediaObject(response: Json): MediaObject | null {
  const url = textAt(response, "url");
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) return null;
  const bytes = numberAt(response, "file_size");
  return {
    url,
    contentType: typeOf(textAt(response, "mime_type")),
    bytes: Number.isSafeInteger(bytes) && bytes >= 0 ? bytes : null,
    checksum: checksumOf(textAt(response, "sha256")),
  };
}

/** Ids become part of a URL. */
function mediaId(id: string): string | null {
  return /^\w{1,100}$/.test(cleanId(id)) ? id : null;
}

/** Base64 in webhooks, hex in responses. */
function checksumOf(text: string): string | null {
  if (/^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase();
  const bytes = Buffer.from(text, "base64");
  return bytes.length === 32 ? bytes.toString("hex") : null;
}
