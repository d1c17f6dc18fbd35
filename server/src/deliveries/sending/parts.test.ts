import assert from "node:assert/strict";
import { test } from "node:test";
import type { MediaKind } from "../../connectors/media.ts";
import type { FileToSend } from "../../files/files.ts";
import { toParts } from "./parts.ts";

const media: MediaKind[] = [
  { kind: "image", contentTypes: ["image/png"], maxBytes: 1_000, maxCaptionLength: 20 },
  { kind: "audio", contentTypes: ["audio/ogg"], maxBytes: 1_000, maxCaptionLength: 0 },
];
const capabilities = { maxTextLength: 100, media };
const link = () => "https://hub.example/f/token";
const picture = {
  kind: "ready",
  filename: "a.png",
  contentType: "image/png",
  bytes: 1_000,
  open: () => Promise.reject(new Error("not read")),
  link,
} as const;
type Known = Exclude<FileToSend, { kind: "pending" | "gone" }>;

/** Texts as they are, files as their kind and caption. */
function shown(caption: string | undefined, file: Known, author: string | null = null): string[] {
  const payload = { type: "file", file_id: "1", ...(caption !== undefined && { caption }) } as const;
  return toParts({ payload, author }, capabilities, file).map(show);
}

function show({ payload, file }: ReturnType<typeof toParts>[number]): string {
  if (payload.type === "text") return payload.text;
  return `${file!.kind}: ${payload.type === "file" ? (payload.caption ?? "") : ""}`;
}

test("a file is one part with its caption where the platform has room for it", () => {
  assert.deepEqual(shown(undefined, picture), ["image: "]);
  assert.deepEqual(shown("x".repeat(20), picture), [`image: ${"x".repeat(20)}`]);
  assert.deepEqual(shown("x".repeat(21), picture), ["x".repeat(21), "image: "]);
  const voice = { ...picture, contentType: "audio/ogg", filename: "a.ogg" };
  assert.deepEqual(shown("listen", voice), ["listen", "audio: "]);
  assert.deepEqual(shown(undefined, voice), ["audio: "]);
});

test("the author's name comes before the caption, or stands for it", () => {
  assert.deepEqual(shown("look", picture, "Ana"), ["image: Ana: look"]);
  assert.deepEqual(shown(undefined, picture, "Ana"), ["image: Ana:"]);
  assert.deepEqual(shown(undefined, { kind: "rejected", filename: "a.png" }, "Ana"), ["Ana:\n[a.png]"]);
});

test("what no kind takes is a link; a long text with it is split", () => {
  assert.deepEqual(shown("look", { ...picture, bytes: 1_001 }), [`look\na.png (1.0 kB)\n${link()}`]);
  assert.deepEqual(shown(undefined, { ...picture, contentType: "text/csv" }), [`a.png (1.0 kB)\n${link()}`]);
  assert.deepEqual(shown(undefined, { ...picture, bytes: 0 }), [`a.png (0 bytes)\n${link()}`]);
  assert.ok(shown("word ".repeat(30), { ...picture, bytes: 2_500_000 }).length > 1);
});

test("what is not there is named, with a link where it may still come", () => {
  assert.deepEqual(shown("look", { kind: "late", filename: "a.png", link }), [`look\na.png\n${link()}`]);
  assert.deepEqual(shown("look", { kind: "rejected", filename: "a.png" }), ["look\n[a.png]"]);
});

test("what is sent instead of a refused file is its link, without a caption that was sent already", () => {
  const payload = { type: "file", file_id: "1", caption: "y".repeat(21) } as const;
  const parts = toParts({ payload, author: null }, capabilities, picture);
  assert.deepEqual(parts[1]!.instead.map(show), [`a.png (1.0 kB)\n${link()}`]);
  const [whole] = toParts({ payload: { ...payload, caption: "look" }, author: null }, capabilities, picture);
  assert.deepEqual(whole!.instead.map(show), [`look\na.png (1.0 kB)\n${link()}`]);
});
