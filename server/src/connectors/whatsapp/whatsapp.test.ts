import { createHmac } from "node:crypto";
import { conformance } from "../conformance.ts";
import { whatsapp } from "./whatsapp.ts";

const credentials = {
  phone_number_id: "106540352242922",
  access_token: "EAAcanary-of-the-access-token",
  app_secret: "canary-of-the-app-secret",
  verify_token: "canary-of-the-verify-token",
};

conformance({
  connector: whatsapp,
  credentials,
  revoked: { ...credentials, access_token: "EAArevoked-access-token", app_secret: "revoked-app-secret" },
  secrets: [credentials.access_token, credentials.app_secret, credentials.verify_token, "EAArevoked-access-token"],
  simulatorAccount: { channel: "whatsapp", ...credentials },
  fixtures: new URL("fixtures/", import.meta.url),
  sign: (rawBody, { app_secret }) => ({
    "x-hub-signature-256": `sha256=${createHmac("sha256", app_secret).update(rawBody).digest("hex")}`,
  }),
  signsBody: true,
  person: "+5511999991111",
  identifiers: [
    ["+5511999991111", "+5511999991111"],
    ["5511999991111", "+5511999991111"],
    ["005511999991111", "+5511999991111"],
    [" +55 (11) 99999-1111 ", "+5511999991111"],
    ["\u202a+55\u00a011\u201199999.1111\u202c", "+5511999991111"],
    ["BR.13491208655302741918", "BR.13491208655302741918"],
    ["US.ENT.13491208655302741918", "US.ENT.13491208655302741918"],
    ["+44 (0)20 7946 0000", null],
    ["+0511999991111", null],
    ["123456", null],
    ["+1234567890123456", null],
    ["ana", null],
    ["", null],
  ],
  samples: {
    text: { type: "text", text: "olá 👍" },
    location: { type: "location", latitude: -23.56, longitude: -46.65, name: "Loja" },
    reaction: { type: "reaction", message_id: "", emoji: "👍" },
    template: { type: "template", name: "hello_world", language: "en_US", parameters: [] },
  },
  serverError: "retry",
});
