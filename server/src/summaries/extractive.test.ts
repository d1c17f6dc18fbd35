import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { systemClock } from "../lib/clock.ts";
import { type TestGist, testGists } from "../testing/test-gists.ts";
import { extractInThread } from "./extract-in-thread.ts";
import { extractSummary } from "./extractive.ts";
import { summarize } from "./summaries.ts";
import { countWords, sentencesOf } from "./words.ts";

/** The summary has about a third of the words of the document. */
const share = 0.35;

function recall(text: string, { facts }: TestGist): number {
  return facts.filter((fact) => fact.test(text)).length / facts.length;
}

/** The sentences of a list that fit, as a summary. */
function fill(sentences: readonly string[], maxWords: number): string {
  let words = 0;
  return sentences
    .filter((sentence) => {
      const count = countWords(sentence);
      if (words + count > maxWords) return false;
      words += count;
      return true;
    })
    .join(" ");
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function measure(gist: TestGist) {
  const maxWords = Math.round(countWords(gist.text) * share);
  const { summary } = extractSummary(gist.text, { style: "paragraph", maxWords, language: gist.language });
  const sentences = gist.text.split("\n").flatMap((line) => sentencesOf(line, gist.language).map((s) => s.trim()));
  let seed = 1;
  const random = () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed / 2 ** 31;
  };
  const shuffled = () =>
    sentences
      .map((sentence) => ({ sentence, at: random() }))
      .sort((a, b) => a.at - b.at)
      .map(({ sentence }) => sentence);
  return {
    extractive: recall(summary, gist),
    lead: recall(fill(sentences, maxWords), gist),
    random: mean(Array.from({ length: 200 }, () => recall(fill(shuffled(), maxWords), gist))),
  };
}

describe("the quality of extractive summaries", () => {
  test("the facts of each document are in the document", () => {
    for (const gist of testGists) assert.equal(recall(gist.text, gist), 1, gist.name);
  });

  test("summaries of a third of the length have half of the facts, more than random sentences or the beginning", (t) => {
    const measured = testGists.map((gist) => ({ name: gist.name, ...measure(gist) }));
    for (const { name, extractive, lead, random } of measured) {
      const shown = [extractive, lead, random].map((value) => value.toFixed(2));
      t.diagnostic(`${name}: ${shown[0]} of the facts; the beginning has ${shown[1]}, random sentences ${shown[2]}`);
      assert.ok(extractive >= random, `${name}: ${extractive} of the facts, ${random} by chance`);
    }
    const extractive = mean(measured.map((one) => one.extractive));
    assert.ok(extractive >= 0.5, `${extractive} of the facts`);
    assert.ok(extractive >= 1.5 * mean(measured.map((one) => one.random)));
    assert.ok(extractive >= 1.5 * mean(measured.map((one) => one.lead)));
  });

  // The numbers of the ranking were chosen with the other documents.
  test("documents that nothing was adjusted to do as well", () => {
    for (const name of ["an article in German", "a manual"]) {
      const { extractive, random } = measure(testGists.find((gist) => gist.name === name)!);
      assert.ok(extractive >= 1.3 * random, `${name}: ${extractive} of the facts, ${random} by chance`);
    }
  });
});

describe("an extractive summary", () => {
  const [article] = testGists as [TestGist];
  const signal = new AbortController().signal;
  const deps = { model: null, textLanguage: "en", clock: systemClock, signal };

  test("says that it is one, and costs no tokens", async () => {
    const made = await summarize(article.text, { style: "paragraph", maxWords: 100, language: "pt" }, deps);
    assert.equal(made.model, "extractive");
    assert.equal(made.language, "en", "it cannot translate");
    assert.deepEqual(made.tokens, { input: 0, output: 0, isEstimated: false });
    assert.equal(made.words, countWords(made.summary));
    assert.ok(made.keyPoints.length >= 3 && made.keyPoints.length <= 5);
  });

  test("has whole sentences of the text in their order, the same each time", async () => {
    const options = { style: "paragraph", maxWords: 100, language: null } as const;
    const [first, second] = [
      await summarize(article.text, options, deps),
      await summarize(article.text, options, deps),
    ];
    assert.deepEqual(first, second);
    const places = sentencesOf(first.summary, "en").map((sentence) => article.text.indexOf(sentence.trim()));
    assert.ok(places.length >= 3 && !places.includes(-1));
    assert.deepEqual(
      places,
      places.toSorted((a, b) => a - b),
    );
  });

  test("never has more words than it may, in each style", () => {
    for (const { text, language } of testGists) {
      for (const maxWords of [20, 33, 100, 1_000]) {
        const paragraph = extractSummary(text, { style: "paragraph", maxWords, language }).summary;
        assert.ok(countWords(paragraph) <= maxWords && paragraph.length > 0, `${maxWords}: ${paragraph}`);
        const bullets = extractSummary(text, { style: "bullets", maxWords, language }).summary;
        assert.ok(bullets.split("\n").every((line) => line.startsWith("- ")));
        const brief = extractSummary(text, { style: "brief", maxWords, language }).summary;
        assert.ok(sentencesOf(brief, language).length <= 2);
      }
    }
  });

  test("joins lines that a page has broken, and leaves out headings and repeated lines", () => {
    const page = `Annual report\n\nThe harbour handled four million containers in the last\nyear, which is a record for the region.\n\nPage header of the annual report of the harbour.\n`;
    const { summary } = extractSummary(page.repeat(3), { style: "paragraph", maxWords: 100, language: "en" });
    assert.match(summary, /in the last year, which/);
    assert.doesNotMatch(summary, /Annual report/);
    assert.equal(summary.split("four million").length, 2);
  });

  test("keeps abbreviations and initials within a sentence", () => {
    const text = "Dr. Silva met Mrs. J. Jones in Lisbon. O art. 5 da lei diz isso. Fim.";
    assert.deepEqual(sentencesOf(text, "en"), [
      "Dr. Silva met Mrs. J. Jones in Lisbon. ",
      "O art. 5 da lei diz isso. ",
      "Fim.",
    ]);
  });

  test("of a text without sentences is its beginning", () => {
    const table = Array.from({ length: 50 }, (_, row) => `Item ${row}\t${row * 3}\t${row * 7}`).join("\n");
    const { summary, keyPoints } = extractSummary(table, { style: "paragraph", maxWords: 20, language: null });
    assert.ok(summary.startsWith("Item 0 0 0 Item 1") && countWords(summary) <= 20, summary);
    assert.deepEqual(keyPoints, []);
  });

  test("of a text in a language without spaces has its sentences", () => {
    const text =
      "市議会は火曜日の夜、新しい橋の建設を賛成多数で可決した。橋の建設費は四十八億円で、二〇二九年の春に開通する予定だ。" +
      "パン屋の店主はこの日のためにケーキを焼いて持ってきた。市は建設費の六割について県の補助を受ける。";
    const { summary } = extractSummary(text, { style: "paragraph", maxWords: 60, language: "ja" });
    assert.match(summary, /^[^。]+。/);
    assert.ok(countWords(summary) <= 60 && text.includes(summary.slice(0, 20)), summary);
  });

  test("refuses a text without words", async () => {
    const made = summarize(" \n-- * --\n", { style: "paragraph", maxWords: 100, language: null }, deps);
    await assert.rejects(made, { code: "DOCUMENT_EMPTY" });
  });

  // The largest text that is extracted from documents; and texts without spaces, lines or sentences.
  test("of 16 MiB leaves the event loop free", async () => {
    let count = 0;
    const varied = testGists
      .map(({ text }) => text.replaceAll(/\p{L}{5,}/gu, (word) => word + (count++ % 97)))
      .join("\n");
    const length = 16_000_000;
    const texts = [varied, "a. ", "x", "word ", "First and second, third.\n"].map((part) =>
      part.repeat(length / part.length),
    );
    for (const text of texts) {
      let turns = 0;
      const timer = setInterval(() => {
        turns += 1;
      }, 1);
      const made = await extractInThread(text, { style: "paragraph", maxWords: 200, language: "en" }, deps);
      clearInterval(timer);
      assert.ok(countWords(made.summary) <= 200 && made.summary !== "");
      assert.ok(turns >= 10, `${turns} turns of the event loop`);
    }
  });

  test("ends at once when it is cancelled", async () => {
    const cancel = new AbortController();
    const made = extractInThread(
      article.text.repeat(5_000),
      { style: "paragraph", maxWords: 200, language: "en" },
      { clock: systemClock, signal: cancel.signal },
    );
    cancel.abort(new Error("cancelled"));
    await assert.rejects(made, { message: "cancelled" });
  });

  test("fails with a code when it takes too long", async () => {
    const clock = { ...systemClock, after: (_: number, callback: () => void) => systemClock.after(0, callback) };
    const options = { style: "paragraph", maxWords: 200, language: "en" } as const;
    const made = extractInThread(article.text.repeat(5_000), options, { clock, signal });
    await assert.rejects(made, { code: "DOCUMENT_TOO_LARGE" });
  });
});
