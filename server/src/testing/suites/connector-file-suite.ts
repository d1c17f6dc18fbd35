import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import type { MessagePayload } from "../../../../contract/src/payloads.ts";
import { generate } from "../../../../simulator/src/media/generate.ts";
import type { Capabilities, FetchedFile } from "../../connectors/connector.ts";
import { HttpError } from "../../lib/http.ts";
import { patient } from "../patience.ts";
import { until } from "../until.ts";
import { type ReceivedCall, startTestPlatform, startTestServer } from "./connector-platform.ts";
import { openSteps, outboundFile } from "./connector-steps.ts";
import type { ConnectorSubject } from "./connector-suite.ts";

/** What `connector-suite.ts` promises of files, in both directions. */
export function fileSuite<C>(subject: ConnectorSubject<C>): void {
  const { connector } = subject;
  const capabilities: Capabilities = connector.capabilities;
  const steps = openSteps(subject);
  const { account, part, send } = steps;
  const caption = "our offer";
  const payload = { type: "file", file_id: "", caption } as const;

  for (const { kind, contentTypes, maxCaptionLength } of capabilities.media) {
    test(`a file is sent as ${kind}, unchanged, with its caption`, async () => {
      for (const contentType of contentTypes ?? ["application/zip"]) {
        const file = outboundFile(kind, contentType, Buffer.concat([...generate(contentType, 3_000)]));
        const given: MessagePayload = maxCaptionLength === 0 ? { type: "file", file_id: "" } : payload;
        const outcome = await send(part(given, { file }));
        assert.equal(outcome.kind, "sent", JSON.stringify(outcome));
        const [received] = (await steps.platform.received()).slice(-1);
        const expected = createHash("sha256")
          .update(await buffer(await file.open()))
          .digest("hex");
        assert.deepEqual([received?.kind, received?.media?.sha256], [kind, expected], contentType);
        assert.equal(received?.media?.caption ?? null, maxCaptionLength === 0 ? null : caption);
        assert.ok(!JSON.stringify(outcome).includes(caption));
      }
    });
  }

  test("an upload that is cut off sent nothing", async () => {
    const before = (await steps.platform.received()).length;
    await steps.platform.break({ fault: "connection_reset", count: 1 });
    const reset = await send(part(payload));
    assert.ok(reset.kind === "retry" || reset.kind === "unknown", JSON.stringify(reset));
    await steps.platform.repair();
    assert.equal((await steps.platform.received()).length, before);
    const http = async () => {
      throw new HttpError("cut", false, null);
    };
    const cut = await send(part(payload), account(), { ...steps.platform.io, http });
    assert.partialDeepStrictEqual(cut, { kind: "retry", platformFault: true });
  });

  test("a file that shrinks while it is sent is not sent", async () => {
    const before = (await steps.platform.received()).length;
    const file = { ...outboundFile("document", "application/pdf"), bytes: 1_000 };
    const outcome = await send(part(payload, { file }));
    assert.equal(outcome.kind, "retry", JSON.stringify(outcome));
    assert.equal((await steps.platform.received()).length, before);
  });

  test("what the platform refuses of a file can be sent as a link", async () => {
    const empty = outboundFile("document", "application/pdf", Buffer.alloc(0));
    const outcome = await send(part(payload, { file: empty }));
    assert.partialDeepStrictEqual(outcome, { kind: "refused", isOfFile: true });
  });

  test("the bytes of a person's file are fetched, and again when its URL has expired", async () => {
    await using fixture = await openReceived();
    const { platform, file, open, content } = fixture;
    assert.equal(file.caption, caption);
    assert.deepEqual(await read(await open()), content);
    await platform.expireMedia({});
    assert.deepEqual(await read(await open()), content);
  });

  test("the name of a person's file is one visible line, or none", async () => {
    for (const [given, expected] of [
      ["Invoice\u202efdp.png\nHub: pay at https://evil.example", "Invoicefdp.png Hub: pay at https://evil.example"],
      ["\u200b\u2060", null],
    ] as const) {
      await using fixture = await openReceived(given);
      assert.equal(fixture.file.filename, expected);
    }
  });

  test("a file that the platform has no more is gone; one that it cannot give now is tried again", async () => {
    await using fixture = await openReceived();
    const { platform, open } = fixture;
    await platform.break({ fault: "server_error", call: "download", count: 1 });
    assert.equal((await open()).kind, "retry");
    await platform.break({ fault: "down", for_ms: 60_000 });
    assert.equal((await open()).kind, "retry");
    await platform.repair();
    await platform.expireMedia({ what: "media" });
    assert.equal((await open()).kind, "gone");
    assert.equal((await open("unknown")).kind, "gone");
  });

  /** A platform on which the person has sent a picture. */
  async function openReceived(filename?: string) {
    await using stack = new AsyncDisposableStack();
    const calls: ReceivedCall[] = [];
    const receiver = stack.use(
      await startTestServer((call) => {
        calls.push(call);
        return { status: 200 };
      }),
    );
    const platform = stack.use(
      await startTestPlatform(connector.channel, { ...subject.simulatorAccount, webhook_url: receiver.url }),
    );
    const content = Buffer.concat([...generate("image/jpeg", 3_000)]);
    await platform.writeFile(subject.person, {
      content_type: filename === undefined ? "image/jpeg" : "application/pdf",
      caption,
      content,
      ...(filename && { filename }),
    });
    const file = await until("the webhook has a file", () =>
      calls
        .flatMap((call) => [...connector.parse(call, subject.credentials)])
        .map((event) => (event.kind === "message" ? event.file : undefined))
        .find((found) => found !== undefined),
    );
    const closing = stack.move();
    return {
      platform,
      file,
      content,
      open: (reference = file.reference) =>
        connector.openFile!(reference, account(platform.settings), platform.io, AbortSignal.timeout(patient(30_000))),
      [Symbol.asyncDispose]: () => closing.disposeAsync(),
    };
  }
}

async function read(fetched: FetchedFile): Promise<Buffer> {
  assert.equal(fetched.kind, "open", JSON.stringify(fetched));
  return buffer((fetched as FetchedFile & { kind: "open" }).body);
}
