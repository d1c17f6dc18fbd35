import { type Static, Type } from "typebox";
import type { ChannelAccount } from "../connector.ts";
import { accessToken, appCredentials, graphUrl } from "../meta/account.ts";

/** `phone_number_id` is in paths, which it must not break out of. */
export const whatsappCredentials = Type.Object(
  {
    phone_number_id: Type.String({ pattern: "^[0-9]{1,32}$", description: "The id of the number, not the number." }),
    access_token: accessToken("A system user's token with whatsapp_business_messaging."),
    ...appCredentials,
  },
  { additionalProperties: false },
);
export type WhatsAppCredentials = Static<typeof whatsappCredentials>;
export type WhatsAppAccount = ChannelAccount<WhatsAppCredentials>;

export function numberUrl(account: WhatsAppAccount): string {
  return graphUrl(account, account.credentials.phone_number_id);
}
