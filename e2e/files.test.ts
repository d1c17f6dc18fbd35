import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { request } from "node:http";
import { before, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { ApiError, type Client, type File } from "../client/src/client.ts";
import type { Upload } from "../server/src/lib/object-store/object-store.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { overBothStores } from "./src/stores.ts";
import { anotherWorkspace, firstWorkspace, type Workspace } from "./src/workspace.ts";

const mebibyte = 1024 * 1024;

overBothStores("files", testFiles);

/** The same client code, and the same promises, for each engine. */
function testFiles(openStore: (opened: AsyncDisposableStack) => Promise<Record<string, string>>) {
  const opened = closeAfterTests();
  let hub: TestHub;
  let home: Workspace;
  let abroad: Workspace;
  let conversation_id: string;

  before(async () => {
    hub = opened.use(await startTestHub({ env: { FILES_QUOTA: "200MiB", ...(await openStore(opened)) } }));
    [home, abroad] = [await firstWorkspace(hub), await anotherWorkspace(hub)];
    const members = [home.admin.userId, home.agent.userId, home.member.userId];
    ({ conversation_id } = await home.admin.client.conversations.create({ type: "group", title: "Files", members }));
  });

  async function post<Body>(parts: readonly Part[]): Promise<{ status: number; body: Body }> {
    const headers = { authorization: `Bearer ${home.member.token}` };
    const answer = await fetch(`${hub.url}/v1/files`, { method: "POST", headers, body: formOf(parts) });
    return { status: answer.status, body: (await answer.json()) as Body };
  }

  async function uploadIn(file_id: string): Promise<Upload> {
    const text = "SELECT upload_id FROM files WHERE file_id = $1";
    const { rows } = await hub.db.query<{ upload_id: string }>(text, [file_id]);
    return { key: `${home.workspaceId}/${file_id}`, uploadId: rows[0]!.upload_id };
  }

  test("a file in several parts is the same when it is downloaded, whole and in ranges", async () => {
    const bytes = Buffer.concat([Buffer.from("%PDF-1.7\n"), randomBytes(12 * mebibyte + 7)]);
    const seen: number[] = [];
    const { client } = home.member;
    const file = await client.files.upload(new Blob([bytes]), {
      filename: "Relatório “final”.pdf",
      onProgress: (stored) => void seen.push(stored),
    });
    assert.deepEqual([file.status, file.size, file.content_type], ["completed", bytes.length, "application/pdf"]);
    assert.equal(seen.at(-1), bytes.length);
    assert.ok(seen.length > 3);
    const { url } = await client.files.download(file.file_id);
    const whole = await fetch(url);
    assert.equal(whole.status, 200);
    assert.ok(bytes.equals(Buffer.from(await whole.arrayBuffer())));
    assert.match(whole.headers.get("content-disposition")!, /^attachment; filename=.*filename\*=UTF-8''Relat%C3%B3rio/);
    assert.equal(whole.headers.get("content-type"), "application/pdf");
    const part = await fetch(url, { headers: { range: `bytes=${5 * mebibyte - 3}-${5 * mebibyte + 2}` } });
    assert.equal(part.status, 206);
    assert.deepEqual(Buffer.from(await part.arrayBuffer()), bytes.subarray(5 * mebibyte - 3, 5 * mebibyte + 3));
    const end = await fetch(url, { headers: { range: "bytes=-4" } });
    assert.deepEqual(Buffer.from(await end.arrayBuffer()), bytes.subarray(-4));
    assert.equal((await fetch(`${url}0`)).status, 403);
    assert.equal((await fetch(url, { method: "PUT", body: "x" })).status, 403);
  });

  test("an upload that was interrupted continues from another client, without sending a stored part again", async () => {
    const bytes = randomBytes(21 * mebibyte);
    bytes.set([0xff, 0xd8, 0xff, 0xe0], 0);
    const { client } = home.member;
    const ending = new AbortController();
    const { file_id } = await client.files.initiate({ filename: "photo.jpg", size: bytes.length });
    await assert.rejects(
      client.files.upload(new Blob([bytes]), {
        fileId: file_id,
        concurrency: 1,
        signal: ending.signal,
        onProgress: (stored) => stored > 10 * mebibyte && ending.abort(),
      }),
    );
    const before = await client.files.parts(file_id);
    const stored = before.parts.filter((part) => part.etag !== null);
    assert.ok(stored.length >= 2 && stored.length < before.parts.length, `${stored.length} parts`);
    await assert.rejects(complete(client, file_id, bytes), isError(409, "CONFLICT"));
    const seen: number[] = [];
    const again = hub.clientFor(home.member.token);
    const file = await again.files.upload(new Blob([bytes]), {
      fileId: file_id,
      onProgress: (sum) => void seen.push(sum),
    });
    assert.equal(
      seen[0],
      stored.reduce((sum, part) => sum + part.size, 0),
    );
    assert.equal(seen.length - 1, before.parts.length - stored.length);
    assert.equal(file.content_type, "image/jpeg");
    // The same request again has the same response; the whole file's SHA-256 is not the one that was verified.
    assert.deepEqual(await again.files.complete({ file_id, checksum: file.checksum! }), file);
    await assert.rejects(complete(again, file_id, bytes), isError(409, "CONFLICT"));
  });

  test("a file is for its uploader, and for the members of the conversation to which it was uploaded", async () => {
    const { member, agent, outsider, admin } = home;
    const own = await member.client.files.upload(new Blob(["for me alone"]), { filename: "notes.txt" });
    const shared = await member.client.files.upload(new Blob(["for us"]), { filename: "ours.txt", conversation_id });
    for (const { client } of [member, agent, admin]) {
      assert.equal((await client.files.get(shared.file_id)).filename, "ours.txt");
      await client.files.download(shared.file_id);
    }
    for (const { client } of [outsider, abroad.admin]) {
      await assert.rejects(client.files.get(shared.file_id), isError(404, "RESOURCE_NOT_FOUND"));
      await assert.rejects(client.files.download(shared.file_id), isError(404, "RESOURCE_NOT_FOUND"));
      await assert.rejects(client.files.remove(shared.file_id), isError(404, "RESOURCE_NOT_FOUND"));
    }
    for (const { client } of [agent, outsider, abroad.admin]) {
      await assert.rejects(client.files.get(own.file_id), isError(404, "RESOURCE_NOT_FOUND"));
    }
    await assert.rejects(
      outsider.client.files.initiate({ filename: "a.txt", size: 1, conversation_id }),
      isError(404, "RESOURCE_NOT_FOUND"),
    );
    await assert.rejects(agent.client.files.remove(shared.file_id), isError(403, "FORBIDDEN"));
    const { data } = await member.client.files.list();
    assert.deepEqual(
      data.slice(0, 2).map(({ file_id }) => file_id),
      [shared.file_id, own.file_id],
    );
    const left = await home.admin.client.conversations.create({
      type: "group",
      title: "Left",
      members: [home.admin.userId, home.agent.userId, member.userId],
    });
    const late = await member.client.files.initiate({
      filename: "a.txt",
      size: 1,
      conversation_id: left.conversation_id,
    });
    assert.equal((await fetch(late.parts[0]!.url, { method: "PUT", body: "a" })).status, 200);
    await home.admin.client.conversations.removeMember(left.conversation_id, member.userId);
    const checksum = createHash("sha256").update("a").digest("hex");
    const end = member.client.files.complete({ file_id: late.file_id, checksum });
    await assert.rejects(end, isError(404, "RESOURCE_NOT_FOUND"));
    await assert.rejects(agent.client.files.remove(own.file_id), isError(404, "RESOURCE_NOT_FOUND"));
    await home.admin.client.files.remove(own.file_id);
    assert.equal((await member.client.files.get(own.file_id)).status, "deleted");
  });

  test("an upload that is completed several times at once is completed", async () => {
    const { client } = home.member;
    const checksum = createHash("sha256").update("abc").digest("hex");
    for (let round = 0; round < 15; round += 1) {
      const { file_id, parts } = await client.files.initiate({ filename: "a.txt", size: 3 });
      assert.equal((await fetch(parts[0]!.url, { method: "PUT", body: "abc" })).status, 200);
      const ends = Array.from({ length: 8 }, () => client.files.complete({ file_id, checksum }));
      assert.deepEqual(new Set((await Promise.all(ends)).map(({ status }) => status)), new Set(["completed"]));
    }
  });

  test("what the bytes are decides, not the name", async () => {
    const { client } = home.member;
    const program = Buffer.concat([Buffer.from("MZ"), randomBytes(4_000)]);
    const refused = client.files.upload(new Blob([program]), { filename: "invoice.pdf" });
    await assert.rejects(refused, isError(415, "FILE_TYPE_INVALID"));
    const random = Buffer.concat([Buffer.alloc(8), randomBytes(100)]);
    await assert.rejects(
      client.files.upload(new Blob([random]), { filename: "x.pdf" }),
      isError(415, "FILE_TYPE_INVALID"),
    );
    await assert.rejects(
      client.files.initiate({ filename: "a.exe", size: 9, content_type: "application/x-msdownload" }),
      isError(415, "FILE_TYPE_INVALID"),
    );
    const page = await client.files.upload(new Blob(["<script>alert(1)</script>"]), { filename: "page.html" });
    const answer = await fetch((await client.files.download(page.file_id)).url);
    assert.match(answer.headers.get("content-disposition")!, /^attachment/);
    await answer.body?.cancel();
  });

  test("another checksum leaves the file unusable", async () => {
    const { client } = home.member;
    const { file_id, parts } = await client.files.initiate({ filename: "a.txt", size: 5 });
    assert.equal((await fetch(parts[0]!.url, { method: "PUT", body: "hello" })).status, 200);
    const wrong = createHash("sha256").update("other").digest("hex");
    await assert.rejects(client.files.complete({ file_id, checksum: wrong }), isError(422, "CHECKSUM_MISMATCH"));
    const file = await client.files.get(file_id);
    assert.deepEqual([file.status, file.error?.code], ["rejected", "CHECKSUM_MISMATCH"]);
    await assert.rejects(client.files.download(file_id), isError(409, "CONFLICT"));
    const right = createHash("sha256").update("hello").digest("hex");
    await assert.rejects(client.files.complete({ file_id, checksum: right }), isError(422, "CHECKSUM_MISMATCH"));
  });

  test("a file is uploaded in one request, with the other fields before or after it", async () => {
    const { client } = home.member;
    const bytes = Buffer.concat([Buffer.from("%PDF-1.7\n"), randomBytes(7 * mebibyte)]);
    const checksum = createHash("sha256").update(bytes).digest("hex");
    const part: Part = ["file", new Blob([bytes]), "Relatório “final”.pdf"];
    for (const parts of [
      [part, ["checksum", checksum], ["conversation_id", conversation_id]],
      [["conversation_id", conversation_id], ["checksum", checksum], part],
    ] satisfies Part[][]) {
      const { status, body: file } = await post<File>(parts);
      assert.equal(status, 201, JSON.stringify(file));
      assert.deepEqual(
        [file.status, file.filename, file.size, file.content_type, file.checksum],
        ["completed", "Relatório “final”.pdf", bytes.length, "application/pdf", checksum],
      );
      assert.deepEqual(await home.agent.client.files.get(file.file_id), file);
      const { url } = await client.files.download(file.file_id);
      assert.ok(bytes.equals(Buffer.from(await (await fetch(url)).arrayBuffer())));
    }
    const empty = await client.files.uploadInOneRequest(new Blob([]), { filename: "empty.txt" });
    assert.deepEqual([empty.status, empty.size, empty.content_type], ["completed", 0, "text/plain"]);
    await assert.rejects(home.agent.client.files.get(empty.file_id), isError(404, "RESOURCE_NOT_FOUND"));
  });

  // Otherwise a client could store more than it said, in places that it may not write to, or at any later time.
  test("a part is refused at any URL but its own, and nothing is stored", async () => {
    const { client } = home.member;
    const size = 5 * mebibyte + 10;
    const content = Buffer.alloc(size, randomBytes(50).toString("hex"));
    const [first, last] = [content.subarray(0, 5 * mebibyte), content.subarray(5 * mebibyte)];
    const newUpload = { filename: "two-parts.txt", size };
    const [own, other, foreign] = [
      await client.files.initiate(newUpload),
      await client.files.initiate(newUpload),
      await abroad.member.client.files.initiate(newUpload),
    ];
    const expiresAt = new Date(Date.now() + 1_000);
    const { key, uploadId } = await uploadIn(own.file_id);
    const part = { number: 1, bytes: first.length };
    const expired = await hub.hub.context.files.store.partUrl({ key, uploadId }, part, expiresAt);
    const [url, lastUrl] = own.parts.map((part) => part.url) as [string, string];
    const { url: readable } = await client.files.download(
      (await client.files.upload(new Blob([first]), { filename: "first.txt" })).file_id,
    );

    await until("it has expired", () => Date.now() > expiresAt.getTime() + 1_000);
    for (const [what, to, body, method] of [
      ["a changed signature", changed(url, /signature=(.)/i, ([one]) => (one === "0" ? "1" : "0")), first],
      ["no signature", url.replace(/&[^&]*signature=[^&]*/i, ""), first],
      ["no parameters", url.split("?")[0]!, first],
      ["a later expiry", changed(url, /expires=(\d+)/i, ([digits]) => `${Number(digits) + 1}`), first],
      ["an expired URL", expired, first],
      ["a byte more", url, Buffer.concat([first, Buffer.from("a")])],
      ["a byte less", url, first.subarray(1)],
      ["nothing", url, Buffer.alloc(0)],
      ["the number of another part", changed(lastUrl, /part(?:number)?=(\d)/i, () => "1"), last],
      ["the URL of another part", lastUrl, first],
      ["the upload of another file", uploadOf(url, other.parts[0]!.url), first],
      ["the name of another file", url.replace(own.file_id, other.file_id), first],
      ["the file of another workspace", url.replace(home.workspaceId, abroad.workspaceId), first],
      ["the signature of another workspace", signedAs(url, foreign.parts[0]!.url), first],
      ["the URL of a download", readable, first],
      ["POST", url, first, "POST"],
      ["GET", url, null, "GET"],
      ["DELETE", url, null, "DELETE"],
    ] satisfies [string, string, Buffer | null, string?][]) {
      const init = { method: method ?? "PUT", ...(body && { body: new Uint8Array(body) }) };
      // A server may close the connection before it has read a body that it refuses.
      const status = await fetch(to, init).then(
        async (answer) => answer.text().then(() => answer.status),
        () => 403,
      );
      assert.ok(status >= 400 && status < 500, `${what} got ${status}`);
    }
    for (const [{ files }, { file_id }] of [
      [client, own],
      [client, other],
      [abroad.member.client, foreign],
    ] as const) {
      const { parts } = await files.parts(file_id);
      assert.deepEqual([parts[0]!.etag, parts[1]!.etag], [null, null]);
    }
    for (const [to, body] of [
      [url, first],
      [lastUrl, last],
    ] as const) {
      assert.equal((await fetch(to, { method: "PUT", body: new Uint8Array(body) })).status, 200);
    }
    assert.equal((await complete(client, own.file_id, content)).status, "completed");
    for (const { file_id } of [own, other]) await client.files.remove(file_id);
    await abroad.member.client.files.remove(foreign.file_id);
  });

  test("a form that is wrong is refused, and nothing of it is kept", async () => {
    const file: Part = ["file", new Blob(["hello"]), "hello.txt"];
    const foreign = await abroad.admin.client.conversations.create({
      type: "group",
      title: "Abroad",
      members: [abroad.admin.userId, abroad.agent.userId, abroad.member.userId],
    });
    const elsewhere = foreign.conversation_id;
    const large: Part = ["file", new Blob([Buffer.alloc(300 * mebibyte)]), "large.txt"];
    const kept = await leftOf(hub);
    for (const [parts, status, code] of [
      [[], 400, "VALIDATION_ERROR"],
      [[["checksum", "0".repeat(64)]], 400, "VALIDATION_ERROR"],
      [[["file", "hello"]], 400, "VALIDATION_ERROR"],
      [[["file", new Blob(["hello"]), " "]], 400, "VALIDATION_ERROR"],
      [[file, file], 400, "VALIDATION_ERROR"],
      [[file, ["other", "1"]], 400, "VALIDATION_ERROR"],
      [[["other", "1"], file], 400, "VALIDATION_ERROR"],
      [[file, ["filename", "other.txt"]], 400, "VALIDATION_ERROR"],
      [[file, ["checksum", "1"]], 400, "VALIDATION_ERROR"],
      [[file, ["checksum", "0".repeat(2_000)]], 400, "VALIDATION_ERROR"],
      [[file, ["conversation_id", "1"]], 400, "VALIDATION_ERROR"],
      [[file, ["conversation_id", conversation_id], ["conversation_id", conversation_id]], 400, "VALIDATION_ERROR"],
      [[file, ...Array.from({ length: 30 }, (_, index): Part => [`x${index}`, ""])], 400, "VALIDATION_ERROR"],
      [[file, ["conversation_id", elsewhere]], 404, "RESOURCE_NOT_FOUND"],
      [[["conversation_id", elsewhere], file], 404, "RESOURCE_NOT_FOUND"],
      [[file, ["checksum", "0".repeat(64)]], 422, "CHECKSUM_MISMATCH"],
      [[large], 409, "CONFLICT"],
    ] satisfies [Part[], number, string][]) {
      const { status: got, body } = await post<{ error: { code: string } }>(parts);
      assert.deepEqual([got, body.error?.code], [status, code], JSON.stringify([body, parts]));
    }
    for (const contentType of [
      "application/json",
      "multipart/form-data",
      "multipart/form-data; boundary=",
      "multipart/mixed",
    ]) {
      const answer = await fetch(`${hub.url}/v1/files`, {
        method: "POST",
        headers: { authorization: `Bearer ${home.member.token}`, "content-type": contentType },
        body: "{}",
      });
      assert.ok([400, 415].includes(answer.status), `${contentType} got ${answer.status}`);
      await answer.body?.cancel();
    }
    assert.deepEqual(await leftOf(hub), kept);
    const program = post<{ error: { code: string } }>([["file", new Blob(["MZ", randomBytes(4_000)]), "invoice.pdf"]]);
    assert.equal((await program).body.error.code, "FILE_TYPE_INVALID");
  });

  test("a form that is cut off leaves nothing, wherever it is cut", async () => {
    const kept = await leftOf(hub);
    const form = new Response(
      formOf([
        ["file", new Blob([randomBytes(mebibyte)]), "cut.txt"],
        ["checksum", "0"],
      ]),
    );
    const body = Buffer.from(await form.clone().arrayBuffer());
    const headers = { authorization: `Bearer ${home.member.token}`, "content-type": form.headers.get("content-type")! };
    for (const sent of [0, 60, 500, mebibyte / 2, body.length - 60, body.length - 4]) {
      // Ended too soon, or without an end.
      const ended = await fetch(`${hub.url}/v1/files`, { method: "POST", headers, body: body.subarray(0, sent) });
      assert.equal(ended.status, 400, `${sent} bytes: ${await ended.text()}`);
      const cut = request(`${hub.url}/v1/files`, {
        method: "POST",
        headers: { ...headers, "content-length": body.length },
      });
      cut.on("error", () => {});
      await new Promise<void>((resolve) => cut.write(body.subarray(0, sent), () => resolve()));
      cut.destroy();
    }
    await until("nothing is left", async () => isDeepStrictEqual(await leftOf(hub), kept));
  });

  test("2 GiB may be uploaded and one byte more may not, and the quota counts what is being uploaded", async () => {
    const { client } = abroad.member;
    const size = 2_147_483_648;
    await assert.rejects(client.files.initiate({ filename: "a.txt", size: size + 1 }), isError(413, "FILE_TOO_LARGE"));
    await assert.rejects(client.files.initiate({ filename: "a.txt", size }), isError(409, "CONFLICT"));
    const first = await client.files.initiate({ filename: "a.txt", size: 150 * mebibyte });
    await assert.rejects(client.files.initiate({ filename: "b.txt", size: 51 * mebibyte }), isError(409, "CONFLICT"));
    await client.files.remove(first.file_id);
    const second = await client.files.initiate({ filename: "b.txt", size: 51 * mebibyte });
    await client.files.remove(second.file_id);
    assert.equal((await client.files.get(second.file_id)).status, "deleted");
    await assert.rejects(client.files.parts(second.file_id), isError(409, "CONFLICT"));
  });

  test("an upload whose parts are gone gets a clear error", async () => {
    const { client } = home.member;
    const { file_id } = await client.files.initiate({ filename: "a.txt", size: 5 });
    await hub.hub.context.files.store.abort(await uploadIn(file_id));
    await assert.rejects(client.files.parts(file_id), isError(409, "CONFLICT"));
    await assert.rejects(complete(client, file_id, Buffer.from("hello")), isError(409, "CONFLICT"));
  });

  test("the bytes of a deleted file are deleted", async () => {
    const { client } = home.member;
    const file = await client.files.upload(new Blob(["soon gone"]), { filename: "gone.txt" });
    const { url } = await client.files.download(file.file_id);
    await client.files.remove(file.file_id);
    await client.files.remove(file.file_id);
    const { removeObjects } = await import("../server/src/files/files.ts");
    const { pipelineDb: db, files } = hub.hub.context;
    await removeObjects({ db, store: files.store });
    await until("the URL leads nowhere", async () => {
      const answer = await fetch(url);
      await answer.body?.cancel();
      return answer.status === 404;
    });
  });
}

/** With another text in the group of the pattern. */
function changed(url: string, pattern: RegExp, change: (groups: string[]) => string): string {
  const found = pattern.exec(url)!;
  const start = found.index + found[0].length - found[1]!.length;
  return url.slice(0, start) + change(found.slice(1)) + url.slice(start + found[1]!.length);
}

const uploadPattern = /upload(?:id)?=([^&]*)/i;
const uploadOf = (url: string, other: string) => changed(url, uploadPattern, () => uploadPattern.exec(other)![1]!);
const signaturePattern = /signature=([^&]*)/i;
const signedAs = (url: string, other: string) =>
  changed(url, signaturePattern, () => signaturePattern.exec(other)![1]!);

type Part = [name: string, value: string | Blob, filename?: string];

function formOf(parts: readonly Part[]): FormData {
  const form = new FormData();
  for (const [name, value, filename] of parts) {
    if (value instanceof Blob) form.append(name, value, filename);
    else form.append(name, value);
  }
  return form;
}

/** Files of all workspaces, uploads that the store has of them, and what waits on the disk. */
async function leftOf({ db, hub }: TestHub): Promise<unknown[]> {
  const { rows } = await db.query("SELECT count(*) FROM files");
  const uploads = await Array.fromAsync(hub.context.files.store.uploadsBefore(new Date(Date.now() + 3_600_000)));
  return [rows, uploads.length];
}

async function complete(client: Client, file_id: string, bytes: Buffer) {
  return client.files.complete({ file_id, checksum: createHash("sha256").update(bytes).digest("hex") });
}

function isError(status: number, code: string) {
  return (error: unknown) => {
    assert.ok(error instanceof ApiError, String(error));
    assert.deepEqual([error.status, error.code], [status, code], error.message);
    return true;
  };
}
