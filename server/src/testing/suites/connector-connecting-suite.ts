import assert from "node:assert/strict";
import { test } from "node:test";
import type { Capabilities, InboundEvent } from "../../connectors/connector.ts";
import { until } from "../until.ts";
import { type ReceivedCall, startTestServer } from "./connector-platform.ts";
import { openSteps, text } from "./connector-steps.ts";
import type { ConnectorSubject } from "./connector-suite.ts";

/** What `connector-suite.ts` promises of credentials, of the handshake, and of the way back from the platform. */
export function connectingSuite<C>(subject: ConnectorSubject<C>): void {
  const { connector, credentials } = subject;
  const capabilities: Capabilities = connector.capabilities;
  const steps = openSteps(subject);
  const { account, part, send, sendFirst } = steps;

  test("checking says whether the credentials work, and shows none", async () => {
    const works = await connector.check(account(), steps.platform.io);
    assert.equal(works.ok, true, works.detail);
    const refused = await connector.check(account(steps.platform.settings, subject.revoked), steps.platform.io);
    const lost = await connector.check(account({ base_url: await steps.platform.closedUrl() }), steps.platform.io);
    assert.deepEqual([refused.ok, lost.ok], [false, false]);
    const shown = JSON.stringify([works, refused, lost]);
    for (const secret of subject.secrets) assert.ok(!shown.includes(secret));
  });

  if (connector.subscribe)
    test("after subscribing, the platform's calls are accepted and parsed", async () => {
      const events: InboundEvent[] = [];
      await using receiver = await startTestServer((call) => receive(call, events));
      const webhookUrl = `${receiver.url}/webhooks/test`;
      for (const _ of ["once", "again"]) {
        const said = await connector.subscribe!(account(), webhookUrl, steps.platform.io);
        assert.equal(said.ok, true, said.detail);
      }
      await steps.platform.write(subject.person, "oi 👍 é");
      await until("a message arrives", () => events.some((event) => event.kind === "message"));
      const message = events.find((event) => event.kind === "message");
      assert.partialDeepStrictEqual(message, {
        identifier: subject.person,
        payload: { type: "text", text: "oi 👍 é" },
      });
      if (capabilities.payloads.includes("reaction")) await reactionsComeBack(events);
      if (capabilities.afterUnknown === "receipt") await receiptsComeBack(events);
    });

  async function reactionsComeBack(events: InboundEvent[]): Promise<void> {
    const target = await sendFirst();
    await steps.platform.react(subject.person, target, "👍");
    const reactions = () => events.filter((event) => "payload" in event && event.payload.type === "reaction");
    await until("a reaction arrives", () => reactions().length > 0);
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
    await until(
      "all statuses arrive",
      () => new Set(ours().map((event) => "status" in event && event.status)).size === 3,
    );
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
    test("a handshake succeeds only with the token", () => {
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
