import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { ApiError, type Client, type DocumentSummary, type SummaryRequest } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { makeDocx, makePdf, makePng, makeXlsx, paragraph } from "../server/src/testing/test-documents.ts";
import { testGists } from "../server/src/testing/test-gists.ts";
import {
  documentOf,
  hangs,
  rateLimited,
  startTestLanguageModel,
  type TestLanguageModel,
} from "../server/src/testing/test-language-model.ts";
import { scanOf } from "../server/src/testing/test-scan.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { watchTask } from "./src/watch-task.ts";
import { firstWorkspace, type Workspace } from "./src/workspace.ts";

const sentence = "The invoice is due on the last day of the month.";
const portuguese = testGists.find(({ name }) => name === "an article in Portuguese")!;

const isError = (status: number, code: string) => (error: unknown) => {
  assert.ok(error instanceof ApiError, String(error));
  assert.deepEqual([error.status, error.code], [status, code]);
  return true;
};

async function upload(client: Client, filename: string, content: Buffer | string): Promise<string> {
  const bytes = typeof content === "string" ? content : new Uint8Array(content);
  return (await client.files.upload(new Blob([bytes]), { filename })).file_id;
}

const ended = (client: Client, taskId: string) =>
  until("the task ends", async () => {
    const task = await client.tasks.get(taskId);
    return task.finished_at !== null && task;
  });

async function summarize(client: Client, fileId: string, options?: SummaryRequest): Promise<DocumentSummary> {
  const task = await ended(client, (await client.documents.summarize(fileId, options)).task_id);
  assert.equal(task.status, "completed", JSON.stringify(task.error));
  return task.result as DocumentSummary;
}

async function failure(client: Client, fileId: string, options?: SummaryRequest): Promise<string | undefined> {
  const task = await ended(client, (await client.documents.summarize(fileId, options)).task_id);
  assert.equal(task.status, "failed");
  return task.error?.code;
}

describe("a hub without a language model", () => {
  const opened = closeAfterTests();
  let hub: TestHub;
  before(async () => {
    hub = opened.use(await startTestHub());
  });

  test("summarizes a document with its own sentences, and says so", async () => {
    const fileId = await upload(hub.client, "maternidade.txt", portuguese.text);
    const made = await summarize(hub.client, fileId, { max_words: 90, language: "en", model: "gpt-5" });
    assert.equal(made.model, "extractive");
    assert.equal(made.language, "pt");
    assert.ok(made.words > 30 && made.words <= 90);
    assert.ok(made.key_points.length >= 3);
    assert.deepEqual(made.tokens, { input: 0, output: 0, estimated: false });
    const facts = portuguese.facts.filter((fact) => fact.test(made.summary));
    assert.ok(facts.length >= 2, made.summary);
    const bullets = await summarize(hub.client, fileId, { style: "bullets" });
    assert.match(bullets.summary, /^- .+(\n- .+)+$/);
  });

  test("refuses what it cannot summarize", async () => {
    const { client } = hub;
    const fileId = await upload(client, "a.txt", portuguese.text);
    const wrong = [
      { max_words: 19 },
      { max_words: 1_001 },
      { style: "poem" },
      { language: "english" },
      { model: "a b" },
    ];
    for (const options of wrong) {
      const asked = client.documents.summarize(fileId, options as SummaryRequest);
      await assert.rejects(asked, isError(400, "VALIDATION_ERROR"));
    }
    const started = await client.files.initiate({ filename: "a.txt", size: 10 });
    await assert.rejects(client.documents.summarize(started.file_id), isError(409, "CONFLICT"));
    const archive = await upload(client, "a.zip", Buffer.from("504b0506000000000000000000000000000000000000", "hex"));
    await assert.rejects(client.documents.summarize(archive), isError(422, "DOCUMENT_TYPE_UNSUPPORTED"));
    assert.equal(await failure(client, await upload(client, "empty.txt", " \n--\n")), "DOCUMENT_EMPTY");
    assert.equal(await failure(client, await upload(client, "a.pdf", "%PDF-1.7 and no more")), "DOCUMENT_CORRUPT");
  });
});

describe("a hub with a language model", () => {
  const opened = closeAfterTests();
  let hub: TestHub;
  let model: TestLanguageModel;
  let home: Workspace;
  let scan: Awaited<ReturnType<typeof scanOf>>;
  before(async () => {
    scan = await scanOf([[sentence]]);
    model = opened.use(await startTestLanguageModel({ keys: ["sk-hub", "sk-ana"] }));
    const llm = { LLM_BASE_URL: model.url, LLM_API_KEY: "sk-hub", LLM_MODEL: "small", LLM_CONTEXT_TOKENS: "8000" };
    hub = opened.use(await startTestHub({ env: llm }));
    home = await firstWorkspace(hub);
  });

  test("summarizes documents of all kinds, and a socket shows the progress", async () => {
    const token = (await hub.logIn("admin")).access_token;
    const documents: [string, Buffer | string, RegExp][] = [
      [
        "report.pdf",
        makePdf(Array.from({ length: 200 }, (_, page) => [`Page ${page + 1}`, `${sentence} `.repeat(6)])),
        /Page 1/,
      ],
      ["letter.docx", makeDocx(`${paragraph("Letter", "Heading1")}${paragraph(sentence)}`), /Letter The invoice/],
      [
        "figures.xlsx",
        makeXlsx({ Sales: '<row><c t="inlineStr"><is><t>Lisboa</t></is></c><c><v>12</v></c></row>' }),
        /Lisboa 12/,
      ],
      ["scan.png", makePng(scan.pixels, scan.width, scan.height), /invoice is due/],
      ["artigo.txt", portuguese.text, /Hospital de Campo Largo/],
    ];
    await Promise.all(
      documents.map(async ([filename, content, expected]) => {
        const { task_id } = await hub.client.documents.summarize(await upload(hub.client, filename, content));
        using watched = await watchTask(hub.url, task_id, token);
        assert.equal((await watched.closed).code, 1000);
        const task = await hub.client.tasks.get(task_id);
        assert.equal(task.status, "completed", `${filename}: ${JSON.stringify(task.error)}`);
        const made = task.result as DocumentSummary;
        assert.match(made.summary, expected);
        assert.equal(made.model, "small");
        assert.ok(made.tokens.input > 0 && made.tokens.output > 0 && !made.tokens.estimated);
        assert.equal(made.omitted_characters, 0);
        const progress = watched.frames.map((frame) => frame.task.progress);
        assert.ok(progress.every((percent, at) => at === 0 || percent >= progress[at - 1]!));
        assert.equal(progress.at(-1), 100);
      }),
    );
    assert.ok(model.requests.length > 8, "the report was sent in parts");
  });

  test("starts one task for the same file and options, and shows it to its user alone", async () => {
    const { member, agent } = home;
    const fileId = await upload(member.client, "a.txt", sentence);
    model.always(hangs);
    const [first, same, other] = [
      await member.client.documents.summarize(fileId, { style: "brief", max_words: 200 }),
      await member.client.documents.summarize(fileId, { style: "brief" }),
      await member.client.documents.summarize(fileId, { style: "bullets" }),
    ];
    assert.equal(first.task_id, same.task_id);
    const { options } = await member.client.tasks.get(first.task_id);
    assert.deepEqual(options, { style: "brief", max_words: 200, language: null, model: null });
    assert.notEqual(first.task_id, other.task_id);
    await assert.rejects(agent.client.tasks.get(first.task_id), isError(404, "TASK_NOT_FOUND"));
    await assert.rejects(agent.client.documents.summarize(fileId), isError(404, "RESOURCE_NOT_FOUND"));
    // Also the one that waits for the language model.
    await until("it is asked", async () => (await member.client.tasks.get(first.task_id)).status === "running");
    for (const { task_id } of [first, other]) await member.client.tasks.cancel(task_id);
    assert.equal((await ended(member.client, first.task_id)).status, "cancelled");
    model.always(model.summarizes);
    await summarize(member.client, fileId, { style: "brief" });
  });

  test("uses the user's own key and preferred model first, and the task fails when the key is refused", async () => {
    const { client } = home.member;
    const fileId = await upload(client, "a.txt", sentence);
    const askedWith = async (options?: SummaryRequest) => {
      model.requests.length = 0;
      const made = await summarize(client, fileId, options);
      const [{ headers, body }] = model.requests as [(typeof model.requests)[number]];
      assert.equal(made.model, body.model);
      return [headers.authorization, body.model];
    };
    assert.deepEqual(await askedWith(), ["Bearer sk-hub", "small"]);
    await client.call("PATCH", "/v1/me", { body: { llm_api_key: "sk-ana", preferred_model: "large" } });
    assert.deepEqual(await askedWith(), ["Bearer sk-ana", "large"]);
    assert.deepEqual(await askedWith({ model: "qwen/tiny:1b" }), ["Bearer sk-ana", "qwen/tiny:1b"]);
    await client.call("PATCH", "/v1/me", { body: { llm_api_key: "sk-revoked" } });
    assert.equal(await failure(client, fileId), "API_KEY_INVALID");
    await client.call("PATCH", "/v1/me", { body: { llm_api_key: null, preferred_model: null } });
    assert.deepEqual(await askedWith(), ["Bearer sk-hub", "small"]);
  });

  test("waits for a language model that is overloaded, and shows why", async () => {
    const { client } = home.member;
    model.next(rateLimited(61));
    const { task_id } = await client.documents.summarize(await upload(client, "a.txt", sentence));
    const task = await until("it waits", async () => {
      const found = await client.tasks.get(task_id);
      return found.error !== null && found;
    });
    assert.deepEqual([task.status, task.error!.code], ["pending", "LLM_UNAVAILABLE"]);
    await client.tasks.cancel(task_id);
  });

  test("sends the text that was extracted before", async () => {
    const { client } = home.member;
    const fileId = await upload(client, "a.txt", sentence);
    const { task_id } = await client.documents.extract(fileId);
    await ended(client, task_id);
    await hub.db.query(
      `UPDATE tasks SET result = '{"text": "What was extracted.", "language": "en"}'::json WHERE task_id = $1`,
      [task_id],
    );
    model.requests.length = 0;
    await summarize(client, fileId);
    assert.equal(documentOf(model.requests[0]!), "What was extracted.");
    await client.files.remove(fileId);
    await assert.rejects(client.documents.summarize(fileId), ApiError);
  });

  test("writes neither documents nor keys into its log", async () => {
    const log = hub.log.lines.join("\n");
    assert.match(log, /"model":"small"/);
    assert.doesNotMatch(log, /invoice|sk-hub|sk-ana|sk-revoked|Campo Largo/);
  });
});
