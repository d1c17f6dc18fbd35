/** The fields of the credentials by which an account of each channel is connected. */
export const credentialFields = {
  whatsapp: ["phone_number_id", "access_token", "app_secret", "verify_token"],
  telegram: ["bot_token", "secret_token"],
} as const satisfies Record<string, readonly string[]>;

export const channels = Object.keys(credentialFields) as [Channel, ...Channel[]];
type Channel = keyof typeof credentialFields;
