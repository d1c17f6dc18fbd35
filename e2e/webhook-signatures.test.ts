import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { before, test } from "node:test";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { signatureHeaders } from "../server/src/webhook-endpoints/secrets.ts";
import { startWebhookProgram, type WebhookProgram } from "./src/webhook-program.ts";

// What a forger may send to a program that verifies signatures. The program runs in its own process, which
// verifies with the package `standardwebhooks`; the hub's own signatures are made by the hub's own code.

const key = randomBytes(32);
const secret = `whsec_${key.toString("base64")}`;
const otherSecret = `whsec_${randomBytes(32).toString("base64")}`;
const body = JSON.stringify({
  type: "message.received",
  timestamp: "2026-11-20T12:00:00.123Z",
  data: { message_id: "0198d6a4-3d2e-7a11-8a2e-0d5a3f1e9b10", content: "olá, ção 🎉" },
});
const webhookId = "0198d6a4-3d2e-8a11-8a2e-0d5a3f1e9b10";

interface Forged {
  headers: Record<string, string>;
  body: string;
}

/** As the hub sends it, at this moment. */
function genuine(secrets: readonly string[] = [secret], atMs = Date.now(), text = body): Forged {
  return { headers: signatureHeaders(secrets, { webhookId, atMs, body: text }), body: text };
}

function altered(change: Partial<Record<"id" | "timestamp" | "signature", string | null>>, text = body): Forged {
  const { headers } = genuine();
  for (const [name, value] of Object.entries(change)) {
    if (value === null) delete (headers as Record<string, string>)[`webhook-${name}`];
    else (headers as Record<string, string>)[`webhook-${name}`] = value!;
  }
  return { headers, body: text };
}

const seconds = () => Math.floor(Date.now() / 1000);
const hmac = (signed: string, with_: Buffer = key, hash = "sha256") => createHmac(hash, with_).update(signed).digest();
const right = () => hmac(`${webhookId}.${seconds()}.${body}`).toString("base64");
const signed = (signature: string) => altered({ signature, timestamp: String(seconds()) });

const forgeries: Record<string, () => Forged> = {
  "another secret": () => genuine([otherSecret]),
  "two signatures, neither right": () => genuine([otherSecret, `whsec_${randomBytes(24).toString("base64")}`]),
  "another body": () => altered({}, body.replace("olá", "adeus")),
  "a byte more in the body": () => altered({}, `${body} `),
  "a line end behind the body": () => altered({}, `${body}\n`),
  "a byte less in the body": () => altered({}, body.slice(0, -1)),
  "the body written again": () => altered({}, JSON.stringify(JSON.parse(body), null, 1)),
  "fields of the body in another order": () => altered({}, JSON.stringify({ data: {}, ...JSON.parse(body) })),
  "the body in another normal form": () => altered({}, body.replace("ção", "ção".normalize("NFD"))),
  "an empty body": () => altered({}, ""),
  "a byte order mark before the body": () => altered({}, `\ufeff${body}`),
  "another id": () => altered({ id: webhookId.replace("0198", "0199") }),
  "an empty id": () => altered({ id: "" }),
  "no id": () => altered({ id: null }),
  "the id in capitals": () => altered({ id: webhookId.toUpperCase() }),
  "an id that takes a part of the time": () => altered({ id: `${webhookId}.${seconds()}` }),
  "another time": () => altered({ timestamp: String(seconds() - 10) }),
  "a time five minutes ago": () => genuine([secret], Date.now() - 301_000 - 1_000),
  "a time a day ago": () => genuine([secret], Date.now() - 86_400_000),
  "a time five minutes ahead": () => genuine([secret], Date.now() + 301_000 + 1_000),
  "a time in milliseconds": () => altered({ timestamp: String(Date.now()) }),
  "a time that is a date": () => altered({ timestamp: new Date().toISOString() }),
  "a time that is no number": () => altered({ timestamp: "now" }),
  "a negative time": () => altered({ timestamp: `-${seconds()}` }),
  "no time": () => altered({ timestamp: null }),
  "an empty time": () => altered({ timestamp: "" }),
  "no signature": () => altered({ signature: null }),
  "an empty signature": () => altered({ signature: "" }),
  "a version without a signature": () => altered({ signature: "v1," }),
  "a signature without a version": () => signed(right()),
  "a version that is unknown": () => signed(`v2,${right()}`),
  "the version of the asymmetric scheme": () => signed(`v1a,${right()}`),
  "the version in capitals": () => signed(`V1,${right()}`),
  "another separator": () => signed(`v1=${right()}`),
  "a space for a separator": () => signed(`v1 ${right()}`),
  "a signature cut short": () => signed(`v1,${right().slice(0, -4)}`),
  "a signature of one character": () => signed(`v1,${right()[0]}`),
  "a signature without padding": () => signed(`v1,${right().replace(/=+$/, "")}`),
  "a longer signature": () => signed(`v1,${right()}AAAA`),
  "a signature in base64url": () => {
    // One that differs in this alphabet.
    for (let id = 0; ; id += 1) {
      const own = `${webhookId}-${id}`;
      const plain = hmac(`${own}.${seconds()}.${body}`);
      if (!/[+/]/.test(plain.toString("base64"))) continue;
      return altered({ id: own, timestamp: String(seconds()), signature: `v1,${plain.toString("base64url")}=` });
    }
  },
  "a signature in hexadecimal": () => signed(`v1,${hmac(`${webhookId}.${seconds()}.${body}`).toString("hex")}`),
  "a signature in small letters": () => signed(`v1,${right().toLowerCase()}`),
  "a signature by SHA-1": () =>
    signed(`v1,${hmac(`${webhookId}.${seconds()}.${body}`, key, "sha1").toString("base64")}`),
  "a signature by SHA-512": () =>
    signed(`v1,${hmac(`${webhookId}.${seconds()}.${body}`, key, "sha512").toString("base64")}`),
  "a signature of the body alone": () => signed(`v1,${hmac(body).toString("base64")}`),
  "a signature with id and time swapped": () =>
    signed(`v1,${hmac(`${seconds()}.${webhookId}.${body}`).toString("base64")}`),
  "a signature with the secret as it is written": () =>
    signed(`v1,${hmac(`${webhookId}.${seconds()}.${body}`, Buffer.from(secret)).toString("base64")}`),
  "a signature with the secret not decoded": () =>
    signed(`v1,${hmac(`${webhookId}.${seconds()}.${body}`, Buffer.from(secret.slice(6))).toString("base64")}`),
  "a signature with an empty key": () =>
    signed(`v1,${hmac(`${webhookId}.${seconds()}.${body}`, Buffer.alloc(0)).toString("base64")}`),
  "signatures separated by a comma": () => signed(`v1,${"A".repeat(43)}=,v1,${right()}`),
  "many signatures, none right": () =>
    signed(Array.from({ length: 50 }, () => `v1,${randomBytes(32).toString("base64")}`).join(" ")),
  "the signature of another event": () =>
    signed(signatureHeaders([secret], { webhookId: "another", atMs: Date.now(), body })["webhook-signature"]),
};

let program: WebhookProgram;

const opened = closeAfterTests();
before(async () => {
  program = opened.use(await startWebhookProgram());
  await program.behave("corpus", secret);
});

test("the corpus has the documented number of cases", () => {
  assert.ok(Object.keys(forgeries).length >= 45);
});

for (const [name, forge] of Object.entries(forgeries)) {
  test(`refused: ${name}`, async () => {
    assert.equal(await deliver(forge()), 400);
    const last = (await program.received("corpus")).at(-1)!;
    assert.equal(last.isVerified, false);
    assert.notEqual(last.refusal, null);
  });
}

test("a valid signature is accepted, alone and beside one with another secret", async () => {
  assert.equal(await deliver(genuine()), 204);
  assert.equal(await deliver(genuine([otherSecret, secret])), 204);
  assert.equal(await deliver(genuine([secret, otherSecret])), 204);
  assert.equal(await deliver(genuine([secret], Date.now() - 290_000)), 204, "the clocks need not agree");
  const [last] = (await program.received("corpus")).slice(-1);
  assert.equal(last!.type, "message.received");
  assert.equal(last!.data.content, "olá, ção 🎉");
});

async function deliver({ headers, body }: Forged): Promise<number> {
  const answer = await fetch(program.urlOf("corpus"), { method: "POST", headers, body });
  await answer.arrayBuffer();
  return answer.status;
}
