import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMarkup } from "./markup.ts";

test("markup becomes entities, counted in UTF-16 units", () => {
  const html = parseMarkup('👍 <b>a <i>b</i></b> <a href="https://x.test/">c</a> &lt;&#65;&gt;', "HTML", undefined);
  assert.deepEqual(html, {
    text: "👍 a b c <A>",
    entities: [
      { type: "bold", offset: 3, length: 3 },
      { type: "italic", offset: 5, length: 1 },
      { type: "text_link", url: "https://x.test/", offset: 7, length: 1 },
    ],
  });
  const v2 = parseMarkup("*a* __b__ ||c|| `d.` [e](https://x.test/) f\\.", "MarkdownV2", undefined);
  assert.equal(v2.text, "a b c d. e f.");
  assert.deepEqual(
    v2.entities.map((entity) => entity.type),
    ["bold", "underline", "spoiler", "code", "text_link"],
  );
  const legacy = parseMarkup("*a* b.c ```js\nx()```", "Markdown", undefined);
  assert.equal(legacy.text, "a b.c \nx()".replace("\n", ""));
  assert.deepEqual(legacy.entities[1], { type: "pre", language: "js", offset: 6, length: 3 });
});

test("broken markup is refused", () => {
  const broken: [string, string][] = [
    ["<b>", "HTML"],
    ["</b>", "HTML"],
    ["<b><i></b></i>", "HTML"],
    ["<x>a</x>", "HTML"],
    ["*a", "Markdown"],
    ["`a", "MarkdownV2"],
    ["a!", "MarkdownV2"],
  ];
  for (const [text, mode] of broken)
    assert.throws(() => parseMarkup(text, mode, undefined), /can't parse entities/, text);
  assert.throws(() => parseMarkup("x", "RTF", undefined), /unsupported parse_mode/);
});
