import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import type { MessagePayload } from "../messages/payload.ts";
import type { ConformanceSubject } from "./conformance.ts";
import { type ReceivedCall, startTestPlatform, startTestServer, type TestPlatform } from "./conformance-platform.ts";
import type { Capabilities, InboundEvent, OutboundPart, SendOutcome } from "./connector.ts";

/** Said in every text: it must be seen by the platform and by nobody else. */
const canary = "canary of what was said";

/** Short, for calls that are never answered. */
const shortMs = 250;

/** What `conformance.ts` promises of sending, checking and subscribing, against the simulator and worse. */
export function sendingConformance<C>(subject: ConformanceSubject<C>): void {
  const { connector, credentials, samples } = subject;
  const capabilities: Capabilities = connector.capabilities;
  let platform: TestPlatform;
  before(async () => {
    platform = await startTestPlatform(connector.channel, subject.simulatorAccount);
  });
  after(() => platform[Symbol.asyncDispose]());
  beforeEach(() => platform.repair());

  function account(settings = platform.settings, credentialsNow = credentials) {
    const { channel } = connector;
    return { channelAccountId: randomUUID(), channel, name: "test", credentials: credentialsNow, settings };
  }

  function part(payload: MessagePayload, rest: Partial<OutboundPart> = {}): OutboundPart {
    return {
      deliveryId: randomUUID(),
      partIndex: 0,
      identifier: subject.person,
      payload,
      quotedProviderMessageId: null,
      targetProviderMessageId: null,
      ...rest,
    };
  }

  async function send(given: OutboundPart, to = account(), io = platform.io): Promise<SendOutcome> {
    const outcome = await connector.send(given, to, io);
    const told = JSON.stringify(outcome);
    for (const secret of [...subject.secrets, canary]) assert.ok(!told.includes(secret), `${secret} is told: ${told}`);
    return outcome;
  }

  const sendText = (...rest: [ReturnType<typeof account>?, TestPlatform["io"]?]) => send(part(text), ...rest);

  async function sendFirst(): Promise<string> {
    const outcome = await sendText();
    assert.equal(outcome.kind, "sent", JSON.stringify(outcome));
    return outcome.kind === "sent" ? outcome.providerMessageId : "";
  }

  for (const type of capabilities.payloads) {
    test(`a ${type} reaches the person, once`, async () => {
      const payload = samples[type];
      assert.ok(payload, `there is no sample of ${type}`);
      const target = type === "reaction" ? await sendFirst() : null;
      const before = (await platform.received()).length;
      const outcome = await send(part(payload, { targetProviderMessageId: target }));
      assert.equal(outcome.kind, "sent", JSON.stringify(outcome));
      const received = (await platform.received()).slice(before);
      assert.deepEqual(
        received.map(({ to, kind }) => [to, kind]),
        [[subject.person, subject.kinds?.[type] ?? type]],
      );
      if (payload.type === "text") assert.equal(received[0]?.text, payload.text);
    });
  }

  test("a payload outside the capabilities is refused without a call", async () => {
    const http = () => assert.fail("the platform was called");
    for (const payload of [file, template, { type: "reaction", message_id: "", emoji: "👍" } as const]) {
      const isCarried = payload.type !== "reaction" && capabilities.payloads.includes(payload.type);
      if (isCarried) continue;
      const outcome = await send(part(payload), account(), { ...platform.io, http });
      assert.equal(outcome.kind, "refused");
    }
  });

  test("the longest text of the capabilities is taken", async () => {
    for (const letter of ["a", "á", "👍"]) {
      const long = letter.repeat(Math.floor(capabilities.maxTextLength / letter.length));
      const outcome = await send(part({ type: "text", text: long }));
      assert.equal(outcome.kind, "sent", JSON.stringify(outcome));
      assert.equal((await platform.received()).at(-1)?.text, long);
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
      const raw = async () => JSON.stringify((await platform.received()).at(-1)?.raw);
      await send(part(text, { quotedProviderMessageId: quoted }));
      assert.ok((await raw())?.includes(id));
      await send(part(text, { quotedProviderMessageId: quoted, partIndex: 1 }));
      assert.ok(!JSON.parse((await raw())!).context && !JSON.parse((await raw())!).reply_parameters);
    });

  test("a call without an answer is unknown", async () => {
    await platform.break({ fault: "timeout_after_accept" });
    const outcome = await sendText(account(), { ...platform.io, timeoutMs: shortMs });
    assert.equal(outcome.kind, "unknown");
    assert.equal((await platform.received()).at(-1)?.text, canary);
  });

  test("a connection that breaks after the request left is unknown", async () => {
    await platform.break({ fault: "connection_reset" });
    assert.equal((await sendText()).kind, "unknown");
  });

  test("a connection that was never made is tried again, and is the platform's fault", async () => {
    const outcome = await sendText(account({ base_url: await platform.closedUrl() }));
    assert.partialDeepStrictEqual(outcome, { kind: "retry", platformFault: true });
  });

  test("too many requests wait as long as the platform asks, and are nobody's fault", async () => {
    await platform.break({ fault: "rate_limit", retry_after_s: 7 });
    const outcome = await sendText();
    assert.partialDeepStrictEqual(outcome, { kind: "retry", platformFault: false });
    assert.ok(outcome.kind === "retry" && outcome.afterMs !== null && outcome.afterMs >= 7_000);
  });

  test("what the platform will never take is refused, and no fault of the account", async () => {
    await platform.break({ fault: "permanent" });
    const outcome = await sendText();
    assert.equal(outcome.kind, "refused");
    assert.ok(outcome.kind === "refused" && !outcome.accountFault && outcome.detail !== "");
  });

  test("a token that does not work is a fault of the account", async () => {
    const outcome = await sendText(account(platform.settings, subject.revoked));
    assert.partialDeepStrictEqual(outcome, { kind: "refused", reason: "CREDENTIALS_INVALID", accountFault: true });
  });

  test("the platform's own 500 is retried only where its word is that nothing was sent", async () => {
    await platform.break({ fault: "server_error" });
    assert.equal((await sendText()).kind, subject.serverError);
    await platform.repair();
    await platform.break({ fault: "down" });
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

  test("an answer that is cut off is unknown", async () => {
    await using gateway = await startTestServer(() => ({
      status: 200,
      headers: { "content-length": "99" },
      body: "{",
    }));
    const outcome = await sendText(account({ base_url: gateway.url }), { ...platform.io, timeoutMs: shortMs });
    assert.equal(outcome.kind, "unknown");
  });

  test("checking says whether the credentials work, and tells none", async () => {
    const works = await connector.check(account(), platform.io);
    assert.equal(works.ok, true, works.detail);
    const refused = await connector.check(account(platform.settings, subject.revoked), platform.io);
    const lost = await connector.check(account({ base_url: await platform.closedUrl() }), platform.io);
    assert.deepEqual([refused.ok, lost.ok], [false, false]);
    const told = JSON.stringify([works, refused, lost]);
    for (const secret of subject.secrets) assert.ok(!told.includes(secret));
  });

  if (connector.subscribe)
    test("after subscribing, the platform's calls are believed and understood", async () => {
      const events: InboundEvent[] = [];
      await using receiver = await startTestServer((call) => receive(call, events));
      const webhookUrl = `${receiver.url}/webhooks/test`;
      for (const _ of ["once", "again"]) {
        const said = await connector.subscribe!(account(), webhookUrl, platform.io);
        assert.equal(said.ok, true, said.detail);
      }
      await platform.write(subject.person, "oi 👍 é");
      await platform.until(() => events.some((event) => event.kind === "message"));
      const message = events.find((event) => event.kind === "message");
      assert.partialDeepStrictEqual(message, {
        identifier: subject.person,
        payload: { type: "text", text: "oi 👍 é" },
      });
      if (capabilities.payloads.includes("reaction")) await reactionsComeBack(events);
      if (capabilities.unknown === "receipt") await receiptsComeBack(events);
    });

  async function reactionsComeBack(events: InboundEvent[]): Promise<void> {
    const target = await sendFirst();
    await platform.react(subject.person, target, "👍");
    const reactions = () => events.filter((event) => "payload" in event && event.payload.type === "reaction");
    await platform.until(() => reactions().length > 0);
    assert.partialDeepStrictEqual(reactions()[0], {
      identifier: subject.person,
      payload: { emoji: "👍" },
      quotedProviderMessageId: target,
    });
  }

  async function receiptsComeBack(events: InboundEvent[]): Promise<void> {
    const second = part(text, { partIndex: 1 });
    const outcome = await send(second);
    const { deliveryId } = second;
    const ours = () => events.filter((event) => event.kind === "receipt" && event.deliveryId === deliveryId);
    await platform.until(() => new Set(ours().map((event) => "status" in event && event.status)).size === 3);
    for (const receipt of ours()) {
      assert.partialDeepStrictEqual(receipt, {
        partIndex: 1,
        providerMessageId: (outcome as { providerMessageId: string }).providerMessageId,
      });
    }
  }

  function receive({ method, query, headers, rawBody }: ReceivedCall, events: InboundEvent[]) {
    if (method === "GET") {
      const challenge = connector.handshake?.(query, credentials) ?? null;
      return challenge === null ? { status: 403 } : { status: 200, body: challenge };
    }
    if (!connector.verify({ headers, rawBody }, credentials)) return { status: 401 };
    events.push(...connector.parse({ headers, rawBody }, credentials));
    return { status: 200 };
  }

  if (connector.handshake)
    test("a handshake is answered only with the token", () => {
      const { verify_token } = credentials as { verify_token: string };
      const asked = { "hub.mode": "subscribe", "hub.verify_token": verify_token, "hub.challenge": "1158201444" };
      const answer = (query: Record<string, string | undefined>) => connector.handshake!(query, credentials);
      assert.equal(answer(asked), "1158201444");
      for (const wrong of [
        {},
        { ...asked, "hub.mode": "unsubscribe" },
        { ...asked, "hub.verify_token": undefined },
        { ...asked, "hub.verify_token": `${verify_token}x` },
        { ...asked, "hub.challenge": undefined },
        { ...asked, "hub.challenge": "<script>" },
      ]) {
        assert.equal(answer(wrong), null);
      }
    });
}

const text = { type: "text", text: canary } as const;
const file = { type: "file", file_id: randomUUID() } as const;
const template = { type: "template", name: "hello", language: "en", parameters: [] } as {
  type: "template";
} & MessagePayload;
