import mime from "mime-types";
import { type Answer, json, runCall } from "../calls.ts";
import type { InboundFile } from "../face.ts";
import { thumbnail } from "../media/generate.ts";
import type { Media, Upload } from "../media/media-store.ts";
import { mediaOf } from "../messages.ts";
import type { TelegramAccount } from "./account.ts";
import type { BotCall } from "./bot-api.ts";
import { BotError, badRequest } from "./bot-error.ts";
import { parseMarkup } from "./markup.ts";
import { type Content, rules, send } from "./send.ts";
import type { TelegramState } from "./state.ts";

const mib = 1 << 20;

/** Limits of sizes. Source: Telegram Bot API, sending files; `getFile`. */
export const maxUploadBytes = 50 * mib;
const maxPhotoBytes = 10 * mib;
const maxUrlBytes = 20 * mib;
const maxPhotoUrlBytes = 5 * mib;
const maxDownloadBytes = 20 * mib;

/** Limits of a photo in pixels. Source: Telegram Bot API, `sendPhoto`. */
const maxPhotoSides = 10_000;
const maxPhotoRatio = 20;

/** Longest caption, in characters after markup is parsed. Source: Telegram Bot API, `sendPhoto`. */
const maxCaptionLength = 1024;

const fetchTimeoutMs = 60_000;

/** How long a path of `getFile` is valid, at least. Source: Telegram Bot API, `getFile`. */
const pathLifeMs = 60 * 60 * 1000;

type Kind = "photo" | "document" | "video" | "audio" | "voice";

/** `type`: how the platform names it in errors. `mimeTypes`: a file of another type becomes a document. */
const kinds: Record<Kind, { type: string; idPrefix: string; folder: string; mimeTypes?: readonly string[] }> = {
  photo: { type: "Photo", idPrefix: "AgAC", folder: "photos" },
  document: { type: "Document", idPrefix: "BQAC", folder: "documents" },
  video: { type: "Video", idPrefix: "BAAC", folder: "videos", mimeTypes: ["video/mp4"] },
  audio: { type: "Audio", idPrefix: "CQAC", folder: "music", mimeTypes: ["audio/mpeg", "audio/mp4", "audio/x-m4a"] },
  voice: { type: "VoiceNote", idPrefix: "AwAC", folder: "voice", mimeTypes: ["audio/ogg", "audio/mpeg", "audio/mp4"] },
};

/** What a document may be that the platform fetches by URL. Source: Telegram Bot API, sending files. */
const documentUrlTypes = ["application/pdf", "application/zip", "image/gif"];

/** `sendPhoto`, `sendDocument` …: by a part of the form, by file_id or by URL. */
export function sendMedia(kind: Kind): (call: BotCall) => Promise<Answer> {
  return (call) =>
    send(call, async (): Promise<Content> => {
      const { state, parameters } = call;
      const caption = readCaption(call);
      const media = await readFile(call, kind);
      const part = { ...(await partOf(state, media, parameters.integer("duration"))), ...caption };
      const text = caption.caption ?? null;
      return { kind: media.kind, text, part, media: mediaOf(media, text) };
    });
}

function readCaption({ parameters }: BotCall): { caption?: string; caption_entities?: unknown[] } {
  const given = parameters.text("caption") ?? "";
  const { text, entities } = parseMarkup(given, parameters.text("parse_mode"), parameters.json("caption_entities"));
  if (text.length > maxCaptionLength && [...text].length > maxCaptionLength) {
    throw badRequest("message caption is too long");
  }
  if (text.trim() === "") return {};
  return entities.length > 0 ? { caption: text, caption_entities: entities } : { caption: text };
}

async function readFile(call: BotCall, kind: Kind): Promise<Media> {
  const { files, parameters, state, account } = call;
  const direct = files.get(kind);
  const given = direct ? undefined : parameters.text(kind)?.trim();
  const part = direct ?? (given?.startsWith("attach://") ? files.get(given.slice("attach://".length)) : undefined);
  if (part) {
    const { filename, upload } = part;
    const mimeType = typeOf(part.mimeType, filename);
    await checkUpload(state, kind, upload);
    return keep(state, account, upload, { kind: keptAs(kind, mimeType), mimeType, filename, isInbound: false });
  }
  if (given === undefined || given === "" || given.startsWith("attach://")) {
    throw badRequest(`there is no ${kind} in the request`);
  }
  if (/^https?:\/\//i.test(given)) return fetchFile(call, kind, given);
  return findFile(call, kind, given);
}

async function fetchFile({ state, account }: BotCall, kind: Kind, url: string): Promise<Media> {
  const { links, media } = state.world;
  const maxBytes = kind === "photo" ? maxPhotoUrlBytes : maxUrlBytes;
  const fetched = await links.fetch(url, { maxBytes, timeoutMs: fetchTimeoutMs, followsRedirects: true });
  if (fetched.kind !== "fetched") throw badRequest("failed to get HTTP URL content");
  const { upload } = fetched;
  try {
    const filename = URL.parse(url)?.pathname.split("/").at(-1) || null;
    const mimeType = typeOf(fetched.mimeType, filename);
    const isExpected = kind === "document" ? documentUrlTypes.includes(mimeType) : mimeType.startsWith(groupOf(kind));
    if (upload.bytes > maxBytes) throw badRequest("file is too big");
    if (!isExpected) throw badRequest("wrong type of the web page content");
    await checkUpload(state, kind, upload);
    return keep(state, account, upload, { kind: keptAs(kind, mimeType), mimeType, filename, isInbound: false });
  } finally {
    media.discard([upload]);
  }
}

function findFile({ state, account }: BotCall, kind: Kind, id: string): Media {
  const media = state.world.media.find("telegram", id);
  if (media?.account !== account.id) throw badRequest("wrong file identifier/HTTP URL specified");
  if (media.kind === kind) return media;
  throw badRequest(`can't use file of type ${kinds[media.kind as Kind].type} as ${kinds[kind].type}`);
}

async function checkUpload(state: TelegramState, kind: Kind, upload: Upload): Promise<void> {
  if (upload.bytes === 0) throw badRequest("file must be non-empty");
  if (upload.bytes > maxUploadBytes) throw new BotError(413, "Request Entity Too Large");
  if (kind !== "photo") return;
  if (upload.bytes > maxPhotoBytes) {
    throw badRequest(
      `file of size ${upload.bytes} bytes is too big for a photo; the maximum size is ${maxPhotoBytes} bytes`,
    );
  }
  const size = await sizeOf(state, upload);
  if (!size) throw badRequest("IMAGE_PROCESS_FAILED");
  const { width, height } = size;
  const ratio = Math.max(width, height) / Math.max(1, Math.min(width, height));
  if (width + height > maxPhotoSides || ratio > maxPhotoRatio) throw badRequest("PHOTO_INVALID_DIMENSIONS");
}

/** `getFile`: the path stays valid for an hour. */
export function getFile(call: BotCall): Promise<Answer> {
  const { state, account, parameters } = call;
  return runCall(state.world, { ...rules, call: "download" }, undefined, () => {
    const media = state.world.media.find("telegram", parameters.text("file_id") ?? "");
    if (media?.account !== account.id) throw badRequest("wrong file_id or the file is temporarily unavailable");
    if (media.bytes > maxDownloadBytes) throw badRequest("file is too big");
    const number = state.fileNumbers.get(media.id) ?? state.fileNumbers.size;
    state.fileNumbers.set(media.id, number);
    const extension = mime.extension(media.mime_type) || "bin";
    const file_path = `${kinds[media.kind as Kind].folder}/file_${number}.${extension}`;
    const validUntil = state.world.now() + pathLifeMs / state.world.settings.of("telegram").time_factor;
    state.paths.set(`${account.id} ${file_path}`, { mediaId: media.id, validUntil });
    return json(200, { ok: true, result: { ...idsOf(media), file_path } });
  });
}

/** `GET /file/bot{token}/{path}`. Every file is `application/octet-stream` (observed). */
export function downloadFile(state: TelegramState, account: TelegramAccount, path: string): Promise<Answer> {
  const { world } = state;
  return runCall(world, { ...rules, call: "download" }, undefined, () => {
    const known = state.paths.get(`${account.id} ${path}`);
    const media = known && world.now() < known.validUntil ? world.media.find("telegram", known.mediaId) : undefined;
    if (!media) throw new BotError(404, "Not Found");
    const contentType = "application/octet-stream";
    return { kind: "file", path: world.media.pathOf(media), bytes: media.bytes, contentType };
  });
}

/** Makes every path that was given for this file, or for all, invalid. */
export function expirePaths({ paths }: TelegramState, mediaId: string | undefined): void {
  for (const [name, path] of paths) if (mediaId === undefined || path.mediaId === mediaId) paths.delete(name);
}

/** A person's file as a message shows it. A picture is a photo, in two sizes. */
export async function personsFile(
  state: TelegramState,
  account: TelegramAccount,
  { content_type, filename, caption, upload }: InboundFile,
): Promise<Record<string, unknown>> {
  const mimeType = typeOf(content_type, filename ?? null);
  const isPhoto = ["image/jpeg", "image/png"].includes(mimeType) && (await sizeOf(state, upload)) !== undefined;
  const group = mimeType.split("/", 1)[0];
  const wanted =
    mimeType === "audio/ogg" ? "voice" : group === "audio" ? "audio" : group === "video" ? "video" : "document";
  const kind = isPhoto ? "photo" : wanted;
  const media = keep(state, account, upload, { kind, mimeType, filename: filename ?? null, isInbound: true });
  return { ...(await partOf(state, media, undefined)), ...(caption === undefined ? {} : { caption }) };
}

function keep(
  { world }: TelegramState,
  account: TelegramAccount,
  upload: Upload,
  about: { kind: Kind; mimeType: string; filename: string | null; isInbound: boolean },
): Media {
  const { kind, mimeType: mime_type, filename, isInbound } = about;
  let id = "";
  do id = `${kinds[kind].idPrefix}${world.random.hex(40)}`;
  while (world.media.findAny(id));
  const owner = { channel: "telegram", account: account.id, isInbound, expiresAt: null };
  return world.media.keep(upload, { ...owner, id, kind, mime_type, filename });
}

async function partOf(state: TelegramState, media: Media, duration = 1): Promise<Record<string, unknown>> {
  const file = {
    ...idsOf(media),
    ...(media.filename === null ? {} : { file_name: media.filename }),
    mime_type: media.mime_type,
  };
  switch (media.kind as Kind) {
    case "photo":
      return { photo: await photoSizes(state, media) };
    case "voice":
      return { voice: { ...idsOf(media), duration, mime_type: media.mime_type } };
    case "audio":
      return { audio: { ...file, duration } };
    case "video":
      return { video: { ...file, width: 640, height: 360, duration } };
    case "document":
      return { document: file };
  }
}

/** Smallest first, as `PhotoSize` objects. The smaller one is a grey picture. */
async function photoSizes(state: TelegramState, photo: Media): Promise<unknown[]> {
  const { media } = state.world;
  const id = `${photo.id}s`;
  const small =
    media.find("telegram", id) ?? media.keep(await media.write([thumbnail], maxPhotoBytes), { ...photo, id });
  const { width, height } = (await sizeOf(state, photo)) ?? { width: 1, height: 1 };
  return [
    { ...idsOf(small), width: 90, height: 67 },
    { ...idsOf(photo), width, height },
  ];
}

function idsOf({ id, sha256, bytes }: Media): { file_id: string; file_unique_id: string; file_size: number } {
  return { file_id: id, file_unique_id: `AQAD${sha256.slice(0, 12)}`, file_size: bytes };
}

/** In pixels; `undefined` when it is no picture. The library is loaded with the first one: the simulator starts sooner. */
async function sizeOf(
  { world }: TelegramState,
  file: { file: string },
): Promise<{ width: number; height: number } | undefined> {
  const { imageSizeFromFile } = await import("image-size/fromFile");
  return imageSizeFromFile(world.media.pathOf(file)).catch(() => undefined);
}

/** The declared type, or the one that the name stands for: many clients declare none. */
function typeOf(declared: string, filename: string | null): string {
  const type = declared.split(";", 1)[0]!.trim().toLowerCase();
  return type === "application/octet-stream" ? mime.lookup(filename ?? "") || type : type;
}

function keptAs(kind: Kind, mimeType: string): Kind {
  const { mimeTypes } = kinds[kind];
  return !mimeTypes || mimeTypes.includes(mimeType) ? kind : "document";
}

function groupOf(kind: Kind): string {
  return kind === "photo" ? "image/" : kind === "video" ? "video/" : "audio/";
}
