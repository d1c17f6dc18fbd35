import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import type { MessagePayload } from "../../../../contract/src/payloads.ts";
import type { Capabilities, SendOutcome } from "../../connectors/connector.ts";
import { startTestServer } from "./connector-platform.ts";
import { canary, openSteps, type Steps, text } from "./connector-steps.ts";
import type { ConnectorSubject } from "./connector-suite.ts";

/** Short, for calls that never get a response. */
const shortMs = 250;

/** Read marks and typing: the connector has a method exactly for those that its capabilities name. */
function signalTests<C>({ connector, person, revoked }: ConnectorSubject<C>, steps: Steps<C>): void {
  const { typing, readMarks } = connector.capabilities as Capabilities;
  const kinds = [
    { kind: "typing", isShown: typing !== "never", method: connector.showTyping },
    { kind: "read", isShown: readMarks, method: connector.markRead },
  ];
  for (const { kind, isShown, method } of kinds) {
    test(isShown ? `the person is shown ${kind}` : `the channel does not show ${kind}`, async () => {
      assert.equal(method !== undefined, isShown);
      if (method === undefined) return;
      const { provider_message_id } = JSON.parse(await steps.platform.write(person, "oi"));
      const messageId = String(provider_message_id);
      const to = { identifier: person, messageId };
      assert.equal((await method(to, steps.account(), steps.platform.io)).kind, "sent");
      const isIt = (of: string | null) => of === null || of === messageId;
      const signals = (await steps.platform.signals()).filter(
        (signal) => signal.kind === kind && isIt(signal.provider_message_id),
      );
      assert.deepEqual(
        signals.map((signal) => signal.to),
        [person],
      );
      const outcome = await method(to, steps.account(steps.platform.settings, revoked), steps.platform.io);
      assert.equal(outcome.kind, "account_refused");
    });
  }
}

/** What `connector-suite.ts` promises of sending, against the simulator and worse. */
export function sendingSuite<C>(subject: ConnectorSubject<C>): void {
  const { connector, samples } = subject;
  const capabilities: Capabilities = connector.capabilities;
  const steps = openSteps(subject);
  const { account, part, send, sendText, sendFirst } = steps;

  for (const type of capabilities.payloads) {
    test(`a ${type} reaches the person, once`, async () => {
      const payload = samples[type];
      assert.ok(payload, `there is no sample of ${type}`);
      const target = type === "reaction" ? await sendFirst() : null;
      const before = (await steps.platform.received()).length;
      const outcome = await send(part(payload, { targetProviderMessageId: target }));
      assert.equal(outcome.kind, "sent", JSON.stringify(outcome));
      const received = (await steps.platform.received()).slice(before);
      assert.deepEqual(
        received.map(({ to, kind }) => [to, kind]),
        [[subject.person, subject.kinds?.[type] ?? type]],
      );
      if (payload.type === "text") assert.equal(received[0]?.text, payload.text);
      for (const words of wordsOf(payload))
        assert.ok(!JSON.stringify(outcome).includes(words), `the outcome contains ${words}`);
    });
  }

  test("a payload outside the capabilities is refused without a call", async () => {
    const http = () => assert.fail("the platform was called");
    for (const payload of [file, template, { type: "reaction", message_id: "", emoji: "👍" } as const]) {
      const isCarried = payload.type !== "reaction" && capabilities.payloads.includes(payload.type);
      if (isCarried) continue;
      const outcome = await send(part(payload), account(), { ...steps.platform.io, http });
      assert.equal(outcome.kind, "refused");
    }
  });

  test("the longest text of the capabilities is taken", async () => {
    for (const letter of ["a", "á", "👍"]) {
      const long = letter.repeat(Math.floor(capabilities.maxTextLength / letter.length));
      const outcome = await send(part({ type: "text", text: long }));
      assert.equal(outcome.kind, "sent", JSON.stringify(outcome));
      assert.equal((await steps.platform.received()).at(-1)?.text, long);
    }
  });

  test("two sends of one part get two ids", async () => {
    const same = part(text);
    const ids = [await send(same), await send(same)].map((sent) => sent.kind === "sent" && sent.providerMessageId);
    assert.notEqual(ids[0], ids[1]);
  });

  if (capabilities.replies)
    test("a quote is shown with the first part", async () => {
      const quoted = await sendFirst();
      const id = quoted.split(":").at(-1)!;
      const raw = async () => JSON.stringify((await steps.platform.received()).at(-1)?.raw);
      await send(part(text, { quotedProviderMessageId: quoted }));
      assert.ok((await raw())?.includes(id));
      await send(part(text, { quotedProviderMessageId: quoted, partIndex: 1 }));
      assert.ok(!JSON.parse((await raw())!).context && !JSON.parse((await raw())!).reply_parameters);
    });

  signalTests(subject, steps);

  test("a call without a response is unknown", async () => {
    await steps.platform.break({ fault: "timeout_after_accept" });
    const outcome = await sendText(account(), { ...steps.platform.io, timeoutMs: shortMs });
    assert.equal(outcome.kind, "unknown");
    assert.equal((await steps.platform.received()).at(-1)?.text, canary);
  });

  test("a connection that breaks after the request left is unknown", async () => {
    await steps.platform.break({ fault: "connection_reset" });
    assert.equal((await sendText()).kind, "unknown");
  });

  test("a failed connection is retried, and is the platform's fault", async () => {
    const outcome = await sendText(account({ base_url: await steps.platform.closedUrl() }));
    assert.partialDeepStrictEqual(outcome, { kind: "retry", platformFault: true });
  });

  test("after 429 the send waits as long as the platform asks, and is no fault", async () => {
    await steps.platform.break({ fault: "rate_limit", retry_after_s: 7 });
    const outcome = await sendText();
    assert.partialDeepStrictEqual(outcome, { kind: "retry", platformFault: false });
    assert.ok(outcome.kind === "retry" && outcome.afterMs !== null && outcome.afterMs >= 7_000);
  });

  test("a permanent refusal is final, and no fault of the account", async () => {
    await steps.platform.break({ fault: "permanent" });
    const outcome = await sendText();
    assert.equal(outcome.kind, "refused");
    assert.ok(outcome.kind === "refused" && outcome.detail !== "");
  });

  test("a refused token counts against the account, not the message", async () => {
    const outcome = await sendText(account(steps.platform.settings, subject.revoked));
    assert.partialDeepStrictEqual(outcome, { kind: "account_refused", reason: "CREDENTIALS_INVALID" });
  });

  test("the platform's own 500 is retried only where it means that nothing was sent", async () => {
    await steps.platform.break({ fault: "server_error" });
    assert.equal((await sendText()).kind, subject.serverError);
    await steps.platform.repair();
    await steps.platform.break({ fault: "down" });
    assert.equal((await sendText()).kind, subject.serverError);
  });

  const pages: [status: number, kind: SendOutcome["kind"]][] = [
    [502, "unknown"],
    [504, "unknown"],
    [200, "unknown"],
    [404, "retry"],
    [403, "retry"],
    [302, "retry"],
    [429, "retry"],
  ];
  for (const [status, kind] of pages) {
    test(`a page with status ${status} that is not the platform's own is ${kind}`, async () => {
      const html = { status, headers: { "content-type": "text/html" }, body: `<html>${canary}</html>` };
      await using gateway = await startTestServer(() => html);
      assert.equal((await sendText(account({ base_url: gateway.url }))).kind, kind);
    });
  }

  test("a response that is cut off is unknown", async () => {
    await using gateway = await startTestServer(() => ({
      status: 200,
      headers: { "content-length": "99" },
      body: "{",
    }));
    const outcome = await sendText(account({ base_url: gateway.url }), { ...steps.platform.io, timeoutMs: shortMs });
    assert.equal(outcome.kind, "unknown");
  });
}

/** Text of a person, which a trace must not contain. */
function wordsOf(payload: MessagePayload): string[] {
  switch (payload.type) {
    case "text":
      return [payload.text];
    case "location":
      return [payload.name ?? String(payload.latitude), String(payload.longitude)];
    case "template":
      return Object.values(payload.parameters);
    case "reaction":
      return [payload.emoji];
    case "file":
      return [payload.caption ?? payload.file_id];
    default:
      return payload satisfies never;
  }
}

const file = { type: "file", file_id: randomUUID() } as const;
const template = { type: "template", name: "hello", language: "en", parameters: [] } as {
  type: "template";
} & MessagePayload;
