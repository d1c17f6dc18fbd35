import { type Static, Type } from "typebox";
import type { ChannelAccount } from "../connector.ts";

/** What connects a number. `phone_number_id` stands in paths and `access_token` in a header: neither may break out. */
export const whatsappCredentials = Type.Object(
  {
    phone_number_id: Type.String({ pattern: "^[0-9]{1,32}$", description: "The id of the number, not the number." }),
    access_token: Type.String({
      pattern: "^[\\x21-\\x7e]+$",
      maxLength: 2000,
      description: "A system user's token with whatsapp_business_messaging.",
    }),
    app_secret: Type.String({ minLength: 1, maxLength: 200, description: "The app's secret: it signs the webhooks." }),
    verify_token: Type.String({ minLength: 1, maxLength: 200, description: "Any text; proves who set the webhook." }),
  },
  { additionalProperties: false },
);
export type WhatsAppCredentials = Static<typeof whatsappCredentials>;
export type WhatsAppAccount = ChannelAccount<WhatsAppCredentials>;

/** Source: Graph API, base URL and versions; v25.0 is the version in the Cloud API pages of 2026. */
const defaultBaseUrl = "https://graph.facebook.com";
const defaultVersion = "v25.0";

/** The address of the number as a Graph object. */
export function numberUrl({ settings, credentials }: WhatsAppAccount): string {
  const base = settings.base_url ?? defaultBaseUrl;
  return `${base}/${settings.api_version ?? defaultVersion}/${credentials.phone_number_id}`;
}

export function bearer({ credentials }: WhatsAppAccount): string {
  return `Bearer ${credentials.access_token}`;
}
