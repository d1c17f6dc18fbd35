import type { Account } from "../accounts.ts";
import { list, object, oneOf, optional, string, url } from "../fields.ts";
import { defaultTemplates, type Template } from "./content.ts";

export interface WhatsAppFields {
  channel: "whatsapp";
  phone_number_id: string;
  access_token: string;
  app_secret: string;
  verify_token: string;
  display_phone_number: string;
  waba_id: string;
  verified_name: string;
  templates: Template[];
  webhook_url?: string;
}

export interface WhatsAppAccount extends Account {
  readonly fields: Readonly<WhatsAppFields> & Readonly<Record<string, unknown>>;
}

const digits = string({ max: 30, pattern: /^\d+$/, hint: "a string of digits" });

const readFields = object({
  channel: oneOf(["whatsapp"]),
  phone_number_id: digits,
  access_token: string({ max: 1000 }),
  app_secret: string({ max: 200 }),
  verify_token: string({ max: 200 }),
  display_phone_number: optional(string({ max: 30, pattern: /^\+?[\d ()-]+$/, hint: "a phone number" })),
  waba_id: optional(digits),
  verified_name: optional(string({ max: 200 })),
  templates: optional(
    list(
      object({
        name: string({ max: 512, pattern: /^[a-z0-9_]+$/, hint: "lower-case letters, digits and _" }),
        language: string({ max: 15 }),
        body: string({ max: 32_768 }),
        category: optional(oneOf(["MARKETING", "UTILITY", "AUTHENTICATION"])),
      }),
      1000,
    ),
  ),
  webhook_url: optional(url),
});

export function readAccount(input: unknown): WhatsAppAccount {
  const given = readFields(input, "body");
  return toAccount({
    ...given,
    display_phone_number: (given.display_phone_number ?? "15550000001").replace(/\D/g, ""),
    waba_id: given.waba_id ?? "419000000000001",
    verified_name: given.verified_name ?? "Chat4All Simulator",
    templates:
      given.templates?.map((template) => ({ ...template, category: template.category ?? "UTILITY" })) ??
      defaultTemplates,
  } as WhatsAppFields);
}

export function toAccount(fields: WhatsAppFields): WhatsAppAccount {
  return {
    channel: "whatsapp",
    id: fields.phone_number_id,
    token: fields.access_token,
    webhookUrl: fields.webhook_url,
    fields: fields as WhatsAppAccount["fields"],
  };
}
