import { isRecord } from "../fields.ts";
import { badParameter, badValue, GraphError, missing } from "./graph-error.ts";

/** Longest text body and caption, in characters. Source: WhatsApp Cloud API, messaging limits and windows. */
const maxTextLength = 4096;
const maxCaptionLength = 1024;

export interface Content {
  kind: string;
  text: string | null;
  media: MediaPart | null;
}

/** Exactly one of `id` and `link` is given. */
export interface MediaPart {
  id?: unknown;
  link?: string;
  filename?: string;
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
  if (isLongerThan(part.body, maxTextLength))
    throw badParameter(`text.body must be at most ${maxTextLength} characters long.`);
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
  if (filename !== undefined && typeof filename !== "string") throw badParameter("document.filename must be a string.");
  return { kind, text: (caption as string | undefined) ?? null, media: { ...part } };
}

function checkCaption(caption: unknown, kind: string): void {
  if (kind === "audio" || kind === "sticker") throw badParameter(`${kind} takes no caption.`);
  if (typeof caption !== "string") throw badParameter(`${kind}.caption must be a string.`);
  if (isLongerThan(caption, maxCaptionLength))
    throw badParameter(`${kind}.caption must be at most ${maxCaptionLength} characters.`);
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

/** Limits of buttons and lists. Source: WhatsApp Cloud API, messages, "Interactive". */
const maxButtons = 3;
const maxRows = 10;
const maxButtonTitleLength = 20;
const maxRowTitleLength = 24;

const kinds = [
  "button",
  "list",
  "cta_url",
  "flow",
  "location_request_message",
  "product",
  "product_list",
  "catalog_message",
];

function checkInteractive(part: Record<string, unknown>): string | null {
  if (typeof part.type !== "string" || !kinds.includes(part.type)) throw badValue("interactive.type is not known.");
  if (!isRecord(part.action)) throw missing("interactive.action");
  if (part.type === "button") checkButtons(part.action.buttons);
  if (part.type === "list") checkSections(part.action.sections);
  const text = isRecord(part.body) ? part.body.text : undefined;
  if (part.type === "product") return typeof text === "string" ? text : null;
  if (typeof text !== "string" || text === "") throw missing("interactive.body.text");
  return text;
}

function checkButtons(buttons: unknown): void {
  if (!Array.isArray(buttons) || buttons.length === 0) throw missing("interactive.action.buttons");
  if (buttons.length > maxButtons) throw badParameter(`at most ${maxButtons} buttons are allowed.`);
  checkChoices(
    buttons.map((button) => (isRecord(button) ? button.reply : undefined)),
    maxButtonTitleLength,
  );
}

function checkSections(sections: unknown): void {
  if (!Array.isArray(sections) || sections.length === 0) throw missing("interactive.action.sections");
  const rows = sections.flatMap((section) => (isRecord(section) && Array.isArray(section.rows) ? section.rows : []));
  if (rows.length === 0) throw missing("interactive.action.sections.rows");
  if (rows.length > maxRows) throw badParameter(`at most ${maxRows} rows are allowed.`);
  checkChoices(rows, maxRowTitleLength);
}

function checkChoices(choices: unknown[], maxTitle: number): void {
  const ids = new Set<string>();
  for (const choice of choices) {
    if (!isRecord(choice) || typeof choice.id !== "string" || typeof choice.title !== "string") {
      throw missing("an id and a title for each choice");
    }
    if (choice.title.length < 1 || choice.title.length > maxTitle) {
      throw badParameter(`a choice's title must be 1 to ${maxTitle} characters.`);
    }
    if (ids.has(choice.id)) throw badParameter("the ids of choices must differ.");
    ids.add(choice.id);
  }
}

/** An approved message template of a business. `{{1}}` or `{{name}}` in the body are its parameters. */
export interface Template {
  name: string;
  language: string;
  category: string;
  body: string;
}

export const defaultTemplates: Template[] = [
  { name: "hello_world", language: "en_US", category: "UTILITY", body: "Welcome and congratulations!" },
  { name: "order_shipped", language: "pt_BR", category: "UTILITY", body: "Oi {{1}}, o pedido {{2}} saiu." },
  { name: "one_time_code", language: "pt_BR", category: "AUTHENTICATION", body: "{{1}} é o seu código." },
];

/** Refuses (throws) a template message that the platform would: 132001 unknown, 132000 wrong number of parameters. */
function checkTemplate(template: Record<string, unknown>, templates: readonly Template[]): void {
  if (typeof template.name !== "string") throw missing("template.name");
  const language = isRecord(template.language) ? template.language.code : undefined;
  if (typeof language !== "string") throw missing("template.language.code");
  const known = templates.find((one) => one.name === template.name && one.language === language);
  if (!known) {
    throw new GraphError(404, 132001, "(#132001) Template name does not exist in the translation", {
      details: `template name (${template.name}) does not exist in ${language}`,
    });
  }
  const expected = new Set(known.body.match(/\{\{\w+\}\}/g)).size;
  const given = bodyParameters(template.components).length;
  if (given !== expected) {
    throw new GraphError(400, 132000, "(#132000) Number of parameters does not match the expected number of params", {
      details: `body: number of localizable_params (${given}) does not match the expected number of params (${expected})`,
    });
  }
}

export function listTemplates(templates: readonly Template[], limit: number): unknown {
  const data = templates.slice(0, limit).map((template, index) => ({
    name: template.name,
    language: template.language,
    status: "APPROVED",
    category: template.category,
    components: [{ type: "BODY", text: template.body }],
    id: String(900_000_000_000_001 + index),
  }));
  return { data, paging: { cursors: { before: "MAZDZD", after: "MjQZD" } } };
}

function bodyParameters(components: unknown): unknown[] {
  if (components === undefined) return [];
  if (!Array.isArray(components)) throw badValue("template.components must be a list.");
  const body = components.find((component) => isRecord(component) && component.type === "body");
  if (!isRecord(body) || body.parameters === undefined) return [];
  if (!Array.isArray(body.parameters)) throw badValue("template.components.parameters must be a list.");
  return body.parameters;
}
