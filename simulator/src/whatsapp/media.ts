import { createHmac } from "node:crypto";
import { type Answer, json, type Refusal, retryAfterSeconds, runCall } from "../calls.ts";
import type { CallKind, Fault } from "../faults.ts";
import type { Media, Upload } from "../media/media-store.ts";
import type { WhatsAppAccount } from "./account.ts";
import type { GraphCall } from "./graph.ts";
import { badToken, GraphError, missing, toAnswer } from "./graph-error.ts";
import type { WhatsAppState } from "./state.ts";

const dayMs = 24 * 60 * 60 * 1000;
const kib = 1024;
const mib = 1024 * kib;

/** How long ids and URLs live. Source: WhatsApp Cloud API, media. */
const uploadedLifeMs = 30 * dayMs;
const receivedLifeMs = 7 * dayMs;
const urlLifeMs = 5 * 60 * 1000;

/** The largest file of any kind. Source: WhatsApp Cloud API, media, supported media types. */
export const maxMediaBytes = 100 * mib;
const maxStickerBytes = 100 * kib;
const maxAnimatedStickerBytes = 500 * kib;
const maxBytes: Record<string, number> = { audio: 16 * mib, image: 5 * mib, video: 16 * mib };

/** What an upload may be. Source: WhatsApp Cloud API, media; the error that lists them. */
const uploadTypes = [
  ...["audio/aac", "audio/mp4", "audio/mpeg", "audio/amr", "audio/ogg", "audio/opus"],
  ...["application/vnd.ms-powerpoint", "application/msword"],
  "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
  "application/vnd.openxmlformats-officedocument.presentationml.presentation",
  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
  ...["application/pdf", "text/plain", "application/vnd.ms-excel"],
  ...["image/jpeg", "image/png", "image/webp", "video/mp4", "video/3gpp"],
];

/** The types of a message's kind; a document may be of any. Source: WhatsApp Cloud API, media, supported media types. */
const typesOf: Record<string, readonly string[]> = {
  audio: ["audio/aac", "audio/mp4", "audio/mpeg", "audio/amr", "audio/ogg", "audio/opus"],
  image: ["image/jpeg", "image/png"],
  sticker: ["image/webp"],
  video: ["video/mp4", "video/3gpp"],
};

/** `POST /{phone_number_id}/media`. */
export function uploadMedia(call: GraphCall): Promise<Answer> {
  return runCall(call.state.world, rulesOf(call.state, "upload"), undefined, () => {
    const { fields, files, account, state } = call;
    if (fields.messaging_product !== "whatsapp") {
      throw new GraphError(400, 100, "(#100) The parameter messaging_product is required.");
    }
    const part = files.get("file");
    if (!part) throw missing("file");
    const type = baseType(part.mimeType);
    if (!uploadTypes.includes(type)) {
      const known = uploadTypes.join(", ");
      const message = `Param file must be a file with one of the following types: ${known}. Received file of type '${type}'.`;
      throw new GraphError(400, 100, `(#100) ${message}`);
    }
    const problem = sizeProblem(part.upload, type);
    if (problem !== undefined) throw new GraphError(400, 131053, "(#131053) Media upload error", { details: problem });
    const media = keepMedia(state, account, part.upload, {
      kind: kindOf(type),
      mime_type: part.mimeType,
      filename: part.filename,
      isInbound: false,
    });
    return json(200, { id: media.id });
  });
}

/** `GET /{media_id}`. `phone_number_id` may only name the number that uploaded it; nobody uploaded what a person sent. */
export function readMedia(call: MediaCall): Promise<Answer> {
  const { state, media, origin } = call;
  return runCall(state.world, rulesOf(state, "download"), undefined, () => {
    checkUploader(call);
    const lifeMs = urlLifeMs / state.world.settings.of("whatsapp").time_factor;
    const ext = Math.ceil((state.world.now() + lifeMs) / 1000);
    const query = new URLSearchParams({ mid: media.id, ext: String(ext), hash: hashOf(state, media, ext) });
    return json(200, {
      messaging_product: "whatsapp",
      url: `${origin}/whatsapp/attachments/?${query}`,
      mime_type: media.mime_type,
      sha256: media.sha256,
      file_size: String(media.bytes),
      id: media.id,
    });
  });
}

/** `DELETE /{media_id}`. */
export function deleteMedia(call: MediaCall): Answer {
  checkUploader(call);
  call.state.world.media.expire(call.media);
  return json(200, { success: true });
}

interface MediaCall extends GraphCall {
  media: Media;
}

/** What `url` of a media object names: it needs the token of the number too. */
export function download(
  state: WhatsAppState,
  token: string | undefined,
  query: Record<string, string>,
): Promise<Answer> {
  return runCall(state.world, rulesOf(state, "download"), undefined, () => {
    const { mid = "", ext = "", hash } = query;
    const media = state.world.media.find("whatsapp", mid);
    const isCurrent = media && hashOf(state, media, Number(ext)) === hash && state.world.now() < Number(ext) * 1000;
    if (token === undefined) throw badToken();
    if (!isCurrent) throw new GraphError(404, 100, "(#100) The URL has expired or does not exist");
    if (state.world.accounts.find("whatsapp", media.account)?.token !== token) throw badToken();
    const { bytes, mime_type: contentType } = media;
    return { kind: "file", path: state.world.media.pathOf(media), bytes, contentType };
  });
}

/** Makes every URL that was given for this id, or for all, invalid. */
export function expireUrls(state: WhatsAppState, id: string | undefined): void {
  if (id === undefined) state.allUrlsFrom += 1;
  else state.urlsFrom.set(id, (state.urlsFrom.get(id) ?? 0) + 1);
}

export function keepMedia(
  { world }: WhatsAppState,
  account: WhatsAppAccount,
  upload: Upload,
  about: Pick<Media, "kind" | "mime_type" | "filename" | "isInbound">,
): Media {
  const lifeMs = about.isInbound ? receivedLifeMs : uploadedLifeMs;
  const expiresAt = world.now() + lifeMs / world.settings.of("whatsapp").time_factor;
  return world.media.keep(upload, { ...about, id: newId(world), channel: "whatsapp", account: account.id, expiresAt });
}

/** The file that a message names by `id`; throws what the platform returns when the number has no such media. */
export function findMedia({ world }: WhatsAppState, account: WhatsAppAccount, kind: string, id: unknown): Media {
  const media = world.media.find("whatsapp", String(id));
  if (media?.account === account.id) return media;
  const message = `Param ${kind}['id'] is not a valid whatsapp business account media attachment ID`;
  throw new GraphError(400, 100, `(#100) ${message}`);
}

/** Why a message of this kind cannot carry such a file: the platform reports it later, with 131053. */
export function typeProblem(kind: string, mimeType: string): string | undefined {
  const types = typesOf[kind];
  if (!types || types.includes(baseType(mimeType))) return undefined;
  const name = `${kind[0]!.toUpperCase()}${kind.slice(1)}`;
  return `Unsupported ${name} mime type ${baseType(mimeType)}. Please use one of ${types.join(", ")}`;
}

/** The kind of message that a person's file of this type is. */
export function kindOf(type: string): string {
  return Object.keys(typesOf).find((kind) => typesOf[kind]!.includes(baseType(type))) ?? "document";
}

/** Why the platform refuses a file of this size. The limit is that of `type`, or else the one of documents. */
export function sizeProblem({ bytes, head }: Upload, type: string): string | undefined {
  const max = type === "image/webp" ? stickerLimit(head) : (maxBytes[type.split("/", 1)[0]!] ?? maxMediaBytes);
  if (bytes === 0) return "The file is empty.";
  return bytes > max ? `The file is larger than ${max} bytes.` : undefined;
}

/** The flags of an extended WebP say whether it is animated. Source: WebP container specification. */
function stickerLimit(head: Buffer): number {
  const isAnimated = head.toString("latin1", 12, 16) === "VP8X" && ((head[20] ?? 0) & 0x02) !== 0;
  return isAnimated ? maxAnimatedStickerBytes : maxStickerBytes;
}

function checkUploader({ account, media, fields }: MediaCall): void {
  const named = fields.phone_number_id;
  if (named === undefined || (!media.isInbound && String(named) === account.id)) return;
  throw new GraphError(400, 100, "(#100) Param phone_number_id is not a valid whatsapp business phone number id ID");
}

function newId({ random, media }: WhatsAppState["world"]): string {
  for (;;) {
    const id = String(1_000_000_000_000_000 + Math.floor(random.next() * 1e15));
    if (!media.findAny(id)) return id;
  }
}

function hashOf(state: WhatsAppState, { id }: Media, ext: number): string {
  const since = `${state.allUrlsFrom} ${state.urlsFrom.get(id) ?? 0}`;
  return createHmac("sha256", state.urlKey).update(`${id} ${ext} ${since}`).digest("base64url");
}

function baseType(mimeType: string): string {
  return mimeType.split(";", 1)[0]!.trim().toLowerCase();
}

function rulesOf({ world }: WhatsAppState, call: CallKind) {
  const refuse = (refusal: Refusal, fault: Fault | undefined) => toAnswer(refusalError(refusal, fault), world.random);
  return { channel: "whatsapp", call, refuse };
}

function refusalError(refusal: Refusal, fault: Fault | undefined): GraphError {
  switch (refusal) {
    case "rate_limit":
      return new GraphError(429, 4, "(#4) Application request limit reached", {
        headers: { "retry-after": String(retryAfterSeconds(fault)) },
      });
    case "permanent": {
      const code = fault?.code ?? 131053;
      return new GraphError(400, code, `(#${code}) Media upload error`, { details: "Media upload error." });
    }
    case "server_error":
    case "overloaded":
      return new GraphError(500, 131000, "(#131000) Something went wrong");
  }
}
