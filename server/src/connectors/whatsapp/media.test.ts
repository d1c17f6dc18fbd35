import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { defaultWhatsAppAccount as account } from "../../../../simulator/src/default-accounts.ts";
import { startSimulator } from "../../../../simulator/src/simulator.ts";
import { startTestServer } from "../../testing/suites/connector-platform.ts";
import { until } from "../../testing/until.ts";
import { parseObject } from "../json.ts";
import { fileOf, mediaContent, mediaKinds, mediaObject, uploadedId, uploadFields } from "./media.ts";

const authorization = `Bearer ${account.access_token}`;
const pdf = Buffer.from("%PDF-1.4 a contract");
const checksum = createHash("sha256").update(pdf).digest("hex");
const about = { filename: "contract.pdf", caption: "look" };

test("the platform takes every kind that is sent, by id and by link", async () => {
  await using site = await startTestServer(() => ({ status: 404 }));
  await using simulator = await startSimulator({ enforceWindow: false });
  const number = `${simulator.url}/whatsapp/v25.0/${account.phone_number_id}`;
  for (const { kind, contentTypes } of mediaKinds) {
    for (const contentType of contentTypes) {
      const form = new FormData();
      for (const [name, value] of Object.entries(uploadFields(contentType))) form.set(name, value);
      form.set("file", new Blob([pdf], { type: contentType }), "file");
      const uploaded = await post(`${number}/media`, form);
      const id = uploadedId(uploaded);
      assert.ok(id !== null, `${contentType}: ${JSON.stringify(uploaded)}`);
      for (const source of [{ id }, { link: site.url }]) {
        const { type, object } = mediaContent(kind, source, about);
        const body = { messaging_product: "whatsapp", to: "5511999991111", type, [type]: object };
        const sent = await post(`${number}/messages`, JSON.stringify(body), { "content-type": "application/json" });
        assert.ok(Array.isArray(sent.messages), `${contentType}: ${JSON.stringify(sent)}`);
      }
    }
  }
});

test("a caption and a file name are sent where the kind has them", () => {
  const id = { id: "1" };
  assert.deepEqual(mediaContent("document", id, about), { type: "document", object: { ...id, ...about } });
  assert.deepEqual(mediaContent("image", id, about), { type: "image", object: { ...id, caption: "look" } });
  assert.deepEqual(mediaContent("audio", id, about), { type: "audio", object: id });
  const { object } = mediaContent("document", id, { filename: "", caption: "👍".repeat(1025) });
  assert.deepEqual(object, { ...id, caption: "👍".repeat(1024) });
});

test("the file of a person's message is found, and its media object gives the URL of the bytes", async () => {
  const bodies: Buffer[] = [];
  await using hook = await startTestServer(({ rawBody }) => {
    bodies.push(rawBody);
    return { status: 200 };
  });
  await using simulator = await startSimulator({ accounts: [{ ...account, webhook_url: hook.url }] });
  const payload = { type: "file", content_type: "application/pdf", ...about, content: pdf.toString("base64") };
  const inbound = { channel: "whatsapp", from: "+5511999991111", payload };
  await post(`${simulator.url}/_sim/inbound`, JSON.stringify(inbound), { "content-type": "application/json" });
  await until("the webhook arrives", () => bodies.length === 1);
  const [message] = JSON.parse(bodies[0]!.toString()).entry[0].changes[0].value.messages;
  const file = fileOf(message)!;
  assert.deepEqual(file, {
    ...about,
    reference: file.reference,
    contentType: "application/pdf",
    bytes: null,
    checksum,
  });
  const response = await fetch(`${simulator.url}/whatsapp/v25.0/${file.reference}`, { headers: { authorization } });
  const { url, ...facts } = mediaObject(parseObject(await response.text())!)!;
  assert.deepEqual(facts, { contentType: "application/pdf", bytes: pdf.length, checksum });
  const bytes = await (await fetch(url, { headers: { authorization } })).arrayBuffer();
  assert.ok(Buffer.from(bytes).equals(pdf));
});

test("what a platform should not send is left out", () => {
  assert.equal(fileOf({ type: "text", text: { id: "1" } }), null);
  for (const id of [undefined, "", "../1", "1?x=y", {}]) assert.equal(fileOf({ type: "image", image: { id } }), null);
  const image = { id: 1003, sha256: "AAAA", mime_type: "not a type", filename: 7, caption: "a\0" };
  assert.deepEqual(fileOf({ type: "image", image }), {
    reference: "1003",
    contentType: null,
    filename: "7",
    bytes: null,
    checksum: null,
    caption: "a\ufffd",
  });
  for (const url of [undefined, "", "file:///etc/passwd", "https://"]) assert.equal(mediaObject({ url }), null);
  assert.deepEqual(mediaObject({ url: "https://x.test/", file_size: -1 }), {
    url: "https://x.test/",
    contentType: null,
    bytes: null,
    checksum: null,
  });
  assert.equal(uploadedId({ error: {} }), null);
});

async function post(url: string, body: string | FormData, headers: Record<string, string> = {}) {
  const response = await fetch(url, { method: "POST", headers: { authorization, ...headers }, body });
  return parseObject(await response.text())!;
}
