import { isRecord } from "../fields.ts";
import { badParameter, badValue, missing } from "./graph-error.ts";

/** Limits of buttons and lists. Source: WhatsApp Cloud API, messages, "Interactive". */
const MAX_BUTTONS = 3;
const MAX_ROWS = 10;
const MAX_BUTTON_TITLE = 20;
const MAX_ROW_TITLE = 24;

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

/** Refuses (throws) an interactive message that the platform would, and returns its body text. */
export function checkInteractive(part: Record<string, unknown>): string | null {
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
  if (buttons.length > MAX_BUTTONS) throw badParameter(`at most ${MAX_BUTTONS} buttons are allowed.`);
  checkChoices(
    buttons.map((button) => (isRecord(button) ? button.reply : undefined)),
    MAX_BUTTON_TITLE,
  );
}

function checkSections(sections: unknown): void {
  if (!Array.isArray(sections) || sections.length === 0) throw missing("interactive.action.sections");
  const rows = sections.flatMap((section) => (isRecord(section) && Array.isArray(section.rows) ? section.rows : []));
  if (rows.length === 0) throw missing("interactive.action.sections.rows");
  if (rows.length > MAX_ROWS) throw badParameter(`at most ${MAX_ROWS} rows are allowed.`);
  checkChoices(rows, MAX_ROW_TITLE);
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
