import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { defaultTelegramAccount } from "../../../../simulator/src/default-accounts.ts";
import { generate } from "../../../../simulator/src/media/generate.ts";
import { startSimulator } from "../../../../simulator/src/simulator.ts";
import { type ChannelAccountId, newId } from "../../lib/ids.ts";
import { type Json, objectAt, parseObject } from "../json.ts";
import { fileUrl, methodUrl, type TelegramAccount } from "./credentials.ts";
import { fileOf, filePath, mediaFields, mediaKinds } from "./media.ts";

const jpeg = Buffer.concat([...generate("image/jpeg", undefined)]);

test("the platform takes every kind that is sent, and people send files that are fetched by their path", async () => {
  await using simulator = await startSimulator({ enforceWindow: false });
  const account: TelegramAccount = {
    channelAccountId: newId<ChannelAccountId>(0),
    channel: "telegram",
    name: "test",
    credentials: { bot_token: defaultTelegramAccount.bot_token, secret_token: "secret-token" },
    settings: { base_url: `${simulator.url}/telegram` },
  };
  const call = async (method: string, body: FormData | URLSearchParams) => {
    const response = await fetch(methodUrl(account, method), { method: "POST", body });
    const answer = parseObject(await response.text())!;
    assert.equal(answer.ok, true, `${method}: ${JSON.stringify(answer)}`);
    return answer;
  };
  for (const { kind, method, contentTypes } of mediaKinds) {
    for (const contentType of contentTypes ?? ["text/csv"]) {
      const form = new FormData();
      for (const [name, value] of Object.entries(mediaFields("123", "look"))) form.set(name, value);
      form.set(kind, new Blob([jpeg], { type: contentType }), "file");
      const sent = objectAt(await call(method, form), "result");
      assert.ok(kind in sent, `${kind} ${contentType}`);
      const file = fileOf(sent)!;
      assert.deepEqual([file.caption, file.bytes], ["look", jpeg.length]);
      const path = filePath(
        objectAt(await call("getFile", new URLSearchParams({ file_id: file.reference })), "result"),
      );
      const fetched = Buffer.from(await (await fetch(fileUrl(account, path!))).arrayBuffer());
      assert.ok(fetched.equals(jpeg));
    }
  }
});

test("the file of a person's message is found, with the type that the platform leaves out", () => {
  const cases: [string, object][] = [
    ["photo", { contentType: "image/jpeg", filename: null }],
    ["voice", { contentType: "audio/ogg" }],
    ["audio", { contentType: "audio/mpeg" }],
    ["video", { contentType: "video/mp4" }],
    ["video-note", { contentType: "video/mp4" }],
    ["document", { contentType: "application/pdf" }],
    ["sticker", { contentType: "image/webp" }],
  ];
  for (const [name, expected] of cases) {
    const { message } = JSON.parse(readFileSync(new URL(`fixtures/${name}.json`, import.meta.url), "utf8"));
    assert.partialDeepStrictEqual(fileOf(message), expected, name);
  }
  const sizes = [
    { file_id: "small", file_size: 1 },
    { file_id: "large", file_size: 2 },
  ];
  assert.partialDeepStrictEqual(fileOf({ photo: sizes }), { reference: "large", bytes: 2 });
});

test("what a platform should not send is left out", () => {
  const none: Json[] = [{ text: "x" }, { photo: [] }, { photo: "x" }, { document: {} }, { document: { file_id: "" } }];
  for (const message of none) assert.equal(fileOf(message), null);
  assert.deepEqual(fileOf({ document: { file_id: "A", file_size: -1, mime_type: "x", file_name: "a\0" } }), {
    reference: "A",
    contentType: null,
    filename: "a",
    bytes: null,
    checksum: null,
    caption: "",
  });
  // The path becomes part of a URL that has the token.
  for (const file_path of [undefined, "", "../getMe", "a/../b", "/a", "a//b", "a?b", "a#b", "a/", "x".repeat(501)]) {
    assert.equal(filePath({ file_path }), null, String(file_path));
  }
  assert.equal(filePath({ file_path: "photos/file_0.jpg" }), "photos/file_0.jpg");
  assert.deepEqual(mediaFields("-100", ""), { chat_id: "-100" });
});
