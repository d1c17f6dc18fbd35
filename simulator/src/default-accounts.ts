/** The WhatsApp number that exists unless other accounts are named. Fixed and public: nothing here is a secret. */
export const defaultWhatsAppAccount = {
  channel: "whatsapp",
  phone_number_id: "100000000000001",
  access_token: "EAAsimulator-whatsapp-access-token",
  app_secret: "simulator-whatsapp-app-secret",
  verify_token: "simulator-whatsapp-verify-token",
  display_phone_number: "15550000001",
  waba_id: "419000000000001",
} as const;

/** The Telegram bot that exists unless other accounts are named. Fixed and public: nothing here is a secret. */
export const defaultTelegramAccount = {
  channel: "telegram",
  bot_token: "700000001:SIMULATOR-telegram-token-no-secret-",
  username: "chat4all_simulator_bot",
  first_name: "Chat4All Simulator",
} as const;

/** Both. */
export const defaultAccounts = [defaultWhatsAppAccount, defaultTelegramAccount] as const;
