import assert from "node:assert/strict";
import { test } from "node:test";
import { mediaKindOf, typeOf } from "./media.ts";
import { mediaKinds as telegramKinds } from "./telegram/media.ts";
import { mediaKinds as whatsappKinds } from "./whatsapp/media.ts";

const mib = 1024 * 1024;

test("a file is sent as the first kind that takes its type and size", () => {
  const cases: [string, number, string | undefined, string | undefined][] = [
    ["image/jpeg", 5 * mib, "image", "photo"],
    ["IMAGE/PNG; x=y", 1, "image", "photo"],
    ["image/png", 5 * mib + 1, undefined, "photo"],
    ["image/png", 10 * mib + 1, undefined, "document"],
    ["image/gif", 1, undefined, "document"],
    ["audio/ogg; codecs=opus", 16 * mib, "audio", "voice"],
    ["audio/mpeg", 16 * mib + 1, undefined, "audio"],
    ["video/mp4", 16 * mib, "video", "video"],
    ["application/pdf", 50 * mib, "document", "document"],
    ["application/pdf", 50 * mib + 1, "document", undefined],
    ["application/pdf", 100 * mib + 1, undefined, undefined],
    ["text/csv", 1, undefined, "document"],
    ["application/pdf", 0, undefined, undefined],
    ["", 1, undefined, "document"],
  ];
  for (const [contentType, bytes, whatsapp, telegram] of cases) {
    const file = { contentType, bytes };
    assert.equal(mediaKindOf(whatsappKinds, file)?.kind, whatsapp, `${contentType} ${bytes}`);
    assert.equal(mediaKindOf(telegramKinds, file)?.kind, telegram, `${contentType} ${bytes}`);
  }
});

test("a media type loses its parameters, and what is none is null", () => {
  assert.equal(typeOf("Audio/Ogg; codecs=opus"), "audio/ogg");
  for (const wrong of ["", "image", "image/", "a b/c", `image/${"x".repeat(101)}`]) assert.equal(typeOf(wrong), null);
});
