import { isRecord } from "../fields.ts";
import { badParameter, badValue, GraphError, missing } from "./graph-error.ts";
import { checkInteractive } from "./interactive.ts";
import { checkTemplate, type Template } from "./templates.ts";

/** Longest text body and caption, in characters. Source: WhatsApp Cloud API, messaging limits and windows. */
export const MAX_TEXT = 4096;
export const MAX_CAPTION = 1024;

/** The content of a message that the platform accepts. */
export interface Content {
  kind: string;
  text: string | null;
  media: unknown;
}

type Part = Record<string, unknown>;
type ReadContent = (part: Part, kind: string, templates: readonly Template[]) => Content;

const readers: Record<string, ReadContent> = {
  text: readText,
  image: readMedia,
  audio: readMedia,
  video: readMedia,
  document: readMedia,
  sticker: readMedia,
  location: readLocation,
  reaction: readReaction,
  template(part, kind, templates) {
    checkTemplate(part, templates);
    return { kind, text: String(part.name), media: null };
  },
  interactive(part, kind) {
    return { kind, text: checkInteractive(part), media: null };
  },
};

/** Reads what a send carries, or throws the platform's refusal. Source: WhatsApp Cloud API, messages. */
export function readContent(fields: Part, templates: readonly Template[]): Content {
  const kind = fields.type ?? "text";
  if (kind === "contacts") return readContacts(fields.contacts);
  const read = typeof kind === "string" && Object.hasOwn(readers, kind) ? readers[kind] : undefined;
  if (!read || typeof kind !== "string") {
    throw new GraphError(400, 131051, "(#131051) Unsupported message type", {
      details: `Message type ${JSON.stringify(kind)} is not supported.`,
    });
  }
  const part = fields[kind];
  if (part === undefined) throw missing(kind);
  if (!isRecord(part)) throw badParameter(`${kind} must be an object.`);
  return read(part, kind, templates);
}

function readText(part: Part, kind: string): Content {
  if (part.body === undefined) throw missing("text.body");
  if (typeof part.body !== "string") throw badParameter("text.body must be a string.");
  if (part.body.trim() === "") throw badValue("text.body must not be empty.");
  if (isLongerThan(part.body, MAX_TEXT)) throw badParameter(`text.body must be at most ${MAX_TEXT} characters long.`);
  return { kind, text: part.body, media: null };
}

function readMedia(part: Part, kind: string): Content {
  const { id, link, caption, filename } = part;
  if ((id === undefined) === (link === undefined)) throw badValue(`${kind} needs exactly one of id and link.`);
  if (id !== undefined && !/^\d+$/.test(String(id))) throw badValue(`${kind}.id is not a media id.`);
  if (link !== undefined && !(typeof link === "string" && /^https?:\/\/./.test(link))) {
    throw badValue(`${kind}.link is not an http or https URL.`);
  }
  if (caption !== undefined) checkCaption(caption, kind);
  if (filename !== undefined && kind !== "document") throw badParameter(`${kind} takes no filename.`);
  return { kind, text: (caption as string | undefined) ?? null, media: part };
}

function checkCaption(caption: unknown, kind: string): void {
  if (kind === "audio" || kind === "sticker") throw badParameter(`${kind} takes no caption.`);
  if (typeof caption !== "string") throw badParameter(`${kind}.caption must be a string.`);
  if (isLongerThan(caption, MAX_CAPTION))
    throw badParameter(`${kind}.caption must be at most ${MAX_CAPTION} characters.`);
}

function readLocation(part: Part, kind: string): Content {
  for (const [field, limit] of [
    ["latitude", 90],
    ["longitude", 180],
  ] as const) {
    if (part[field] === undefined) throw missing(`location.${field}`);
    const degrees = Number(part[field]);
    if (!(Math.abs(degrees) <= limit)) throw badValue(`location.${field} must be from -${limit} to ${limit}.`);
  }
  return { kind, text: typeof part.name === "string" ? part.name : null, media: null };
}

function readReaction(part: Part, kind: string): Content {
  if (typeof part.message_id !== "string" || part.message_id === "") throw missing("reaction.message_id");
  if (typeof part.emoji !== "string") throw missing("reaction.emoji");
  return { kind, text: part.emoji, media: null };
}

function readContacts(contacts: unknown): Content {
  if (contacts === undefined) throw missing("contacts");
  if (!Array.isArray(contacts) || contacts.length === 0) throw badParameter("contacts must be a list with an item.");
  for (const contact of contacts) {
    const name = isRecord(contact) && isRecord(contact.name) ? contact.name.formatted_name : undefined;
    if (typeof name !== "string") throw missing("contacts.name.formatted_name");
  }
  return { kind: "contacts", text: null, media: null };
}

/** Counts characters, not UTF-16 units, and only when it must. */
function isLongerThan(text: string, max: number): boolean {
  return text.length > max && [...text].length > max;
}
