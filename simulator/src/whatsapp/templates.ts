import { isRecord } from "../fields.ts";
import { badValue, GraphError, missing } from "./graph-error.ts";

/** An approved message template of a business. `{{1}}` or `{{name}}` in the body are its parameters. */
export interface Template {
  name: string;
  language: string;
  category: string;
  body: string;
}

/** What an account has when it names no templates. */
export const defaultTemplates: Template[] = [
  { name: "hello_world", language: "en_US", category: "UTILITY", body: "Welcome and congratulations!" },
  { name: "order_shipped", language: "pt_BR", category: "UTILITY", body: "Oi {{1}}, o pedido {{2}} saiu." },
  { name: "one_time_code", language: "pt_BR", category: "AUTHENTICATION", body: "{{1}} é o seu código." },
];

/** Refuses (throws) a template message that the platform would: 132001 unknown, 132000 wrong number of parameters. */
export function checkTemplate(template: Record<string, unknown>, templates: readonly Template[]): void {
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

/** The templates as `GET /{waba_id}/message_templates` lists them. */
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
