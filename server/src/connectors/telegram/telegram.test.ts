import { connectorSuite } from "../../testing/suites/connector-suite.ts";
import { telegram } from "./telegram.ts";

const token = "canary_of_the_bot_token_35_letters_";
const credentials = { bot_token: `700000001:${token}`, secret_token: "canary-of-the-secret-token" };
const revoked = { bot_token: `700000001:revoked_bot_token_of_35_characters_`, secret_token: "revoked-secret-token" };

connectorSuite({
  connector: telegram,
  credentials,
  revoked,
  secrets: [token, credentials.secret_token, "revoked_bot_token"],
  simulatorAccount: { channel: "telegram", bot_token: credentials.bot_token },
  fixtures: new URL("fixtures/", import.meta.url),
  sign: (_rawBody, { secret_token }) => ({ "x-telegram-bot-api-secret-token": secret_token }),
  signsBody: false,
  person: "123456789",
  identifiers: [
    ["123456789", "123456789"],
    [" 123456789 ", "123456789"],
    ["-1001234567890", "-1001234567890"],
    ["4503599627370496", "4503599627370496"],
    ["4503599627370497", null],
    ["0123", null],
    ["0", null],
    ["+123", null],
    ["1e5", null],
    ["@ana", null],
    ["", null],
  ],
  samples: {
    text: { type: "text", text: "olá 👍" },
    file: { type: "file", file_id: "", caption: "our offer" },
    location: { type: "location", latitude: -23.56, longitude: -46.65 },
    reaction: { type: "reaction", message_id: "", emoji: "❤️" },
  },
  kinds: { file: "document" },
  serverError: "unknown",
});
