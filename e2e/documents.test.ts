import assert from "node:assert/strict";
import { before, test } from "node:test";
import { ApiError, type Task } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import {
  docxParts,
  makeDocx,
  makePdf,
  makePng,
  makeXlsx,
  makeZip,
  paragraph,
} from "../server/src/testing/test-documents.ts";
import { scanOf } from "../server/src/testing/test-scan.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { overBothStores } from "./src/stores.ts";
import { watchTask } from "./src/watch-task.ts";

const mebibyte = 1024 * 1024;
const sentence = "The invoice is due on the last day of the month.";
const portuguese =
  "A reunião de ontem decidiu que as obras da ponte começam em março. Os moradores pediram que o trânsito seja desviado.";

overBothStores("documents", testDocuments);

interface Extracted {
  frames: Task[];
  task: Awaited<ReturnType<TestHub["client"]["tasks"]["get"]>>;
}

function testDocuments(openStore: (opened: AsyncDisposableStack) => Promise<Record<string, string>>) {
  const opened = closeAfterTests();
  let hub: TestHub;
  let token: string;
  let scan: Awaited<ReturnType<typeof scanOf>>;

  before(async () => {
    scan = await scanOf([[sentence]]);
    hub = opened.use(await startTestHub({ env: await openStore(opened) }));
    token = (await hub.logIn("admin")).access_token;
  });

  async function upload(filename: string, content: Buffer | string): Promise<string> {
    const bytes = typeof content === "string" ? content : new Uint8Array(content);
    return (await hub.client.files.upload(new Blob([bytes]), { filename })).file_id;
  }

  /** Watches the task on a socket until its end. */
  async function extract(filename: string, content: Buffer | string): Promise<Extracted> {
    const { task_id } = await hub.client.documents.extract(await upload(filename, content));
    using watched = await watchTask(hub.url, task_id, token);
    assert.equal((await watched.closed).code, 1000);
    return { frames: watched.frames.map(({ task }) => task), task: await hub.client.tasks.get(task_id) };
  }

  const honest = {
    "report.pdf": () => makePdf(Array.from({ length: 200 }, (_, page) => [`Page ${page + 1}`, sentence])),
    "letter.docx": () => makeDocx(`${paragraph("Letter", "Heading1")}${paragraph(sentence)}`),
    "figures.xlsx": () => makeXlsx({ Sales: '<row><c t="inlineStr"><is><t>Lisboa</t></is></c><c><v>12</v></c></row>' }),
    "scan.png": () => makePng(scan.pixels, scan.width, scan.height),
    "aviso.txt": () => portuguese,
    "scans.pdf": () => makePdf([[], [], [], []], { scan }),
  };
  const expected: Record<keyof typeof honest, object> = {
    "report.pdf": { pages: 200, language: "en" },
    "letter.docx": { title: "Letter", words: 12 },
    "figures.xlsx": { pages: 1 },
    "scan.png": { pages: 1, words: 11 },
    "aviso.txt": { language: "pt", pages: null },
    "scans.pdf": { pages: 4, words: 44 },
  };

  test("documents of all kinds are extracted, and a socket shows their progress", async () => {
    const found = await Promise.all(
      Object.entries(honest).map(async ([name, make]) => [name, await extract(name, make())] as const),
    );
    for (const [name, { frames, task }] of found) {
      assert.equal(task.status, "completed", `${name}: ${JSON.stringify(task.error)}`);
      assert.partialDeepStrictEqual(task.result, expected[name as keyof typeof honest], name);
      for (const [index, { progress }] of frames.entries()) assert.ok(progress >= (frames[index - 1]?.progress ?? 0));
      assert.equal(frames.at(-1)!.progress, 100, name);
    }
    const ofScans = found.find(([name]) => name === "scans.pdf")![1].frames;
    assert.ok(
      ofScans.some(({ status, progress }) => status === "running" && progress > 0),
      `there is progress between: ${ofScans.map(({ progress }) => progress)}`,
    );
  });

  test("documents that attack what reads them fail with their codes, and others are read meanwhile", async () => {
    const nested = () => {
      let archive = makeZip([{ name: "0", content: Buffer.alloc(mebibyte) }]);
      for (let depth = 0; depth < 4; depth += 1) {
        const content = archive;
        archive = makeZip(Array.from({ length: 16 }, (_, index) => ({ name: `${index}.zip`, content })));
      }
      return archive;
    };
    const laughs = Array.from({ length: 10 }, (_, index) => `<!ENTITY e${index + 1} "${`&e${index};`.repeat(10)}">`);
    const pdf = makePdf(Array.from({ length: 20 }, () => [sentence]));
    const locked =
      "/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O (01234567890123456789012345678901) /U (01234567890123456789012345678901) >> /ID [(0123456789012345) (0123456789012345)]";
    const attacks: [name: string, content: Buffer, code: string][] = [
      [
        "bomb.docx",
        makeZip([...docxParts(paragraph("Boom")), { name: "word/bomb.xml", content: Buffer.alloc(200 * mebibyte) }]),
        "DOCUMENT_TOO_LARGE",
      ],
      ["nested.docx", nested(), "DOCUMENT_TYPE_UNSUPPORTED"],
      ["cut.pdf", pdf.subarray(0, pdf.length / 2), "DOCUMENT_CORRUPT"],
      ["locked.pdf", makePdf([[sentence]], { trailer: locked }), "DOCUMENT_ENCRYPTED"],
      ["huge.png", makePng(Buffer.alloc(100), 10, 10, { width: 50_000, height: 50_000 }), "DOCUMENT_TOO_LARGE"],
      [
        "laughs.docx",
        makeDocx(paragraph("&e10;"), { prolog: `<!DOCTYPE lolz [<!ENTITY e0 "lol">${laughs.join("")}]>` }),
        "DOCUMENT_CORRUPT",
      ],
    ];
    const [honestly, ...failed] = await Promise.all([
      extract("honest.txt", sentence),
      ...attacks.map(([name, content]) => extract(name, content)),
    ]);
    assert.partialDeepStrictEqual(honestly!.task, { status: "completed", result: { words: 11 } });
    for (const [index, { task }] of failed.entries()) {
      const [name, , code] = attacks[index]!;
      assert.deepEqual([task.status, task.error?.code, task.result], ["failed", code, null], name);
    }
    // What is not even a file of its name is no file at all.
    await assert.rejects(upload("zeros.docx", Buffer.alloc(mebibyte)), hasCode(415, "FILE_TYPE_INVALID"));
    const archive = await upload("nested.zip", nested());
    await assert.rejects(hub.client.documents.extract(archive), hasCode(422, "DOCUMENT_TYPE_UNSUPPORTED"));
  });
}

const hasCode = (status: number, code: string) => (error: unknown) =>
  error instanceof ApiError && error.status === status && error.code === code;
