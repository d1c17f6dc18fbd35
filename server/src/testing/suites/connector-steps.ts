import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { before, beforeEach } from "node:test";
import type { MessagePayload } from "../../../../contract/src/payloads.ts";
import type { ConnectorIo, OutboundFile, OutboundPart, SendOutcome } from "../../connectors/connector.ts";
import { type ChannelAccountId, newId } from "../../lib/ids.ts";
import { closeAfterTests } from "../close-after-tests.ts";
import { startTestPlatform, type TestPlatform } from "./connector-platform.ts";
import type { ConnectorSubject } from "./connector-suite.ts";

/** In every text: only the platform may see it. */
export const canary = "canary of what was said";
export const text = { type: "text", text: canary } as const;

/** Some bytes that are called a file of this type. */
export function outboundFile(
  kind: string,
  contentType: string,
  bytes = Buffer.from(`${contentType}\r\n--`),
): OutboundFile {
  return {
    kind,
    contentType,
    filename: 'the "offer".pdf',
    bytes: bytes.length,
    open: async () => Readable.from([bytes]),
  };
}

export type Steps<C> = ReturnType<typeof openSteps<C>>;

/** What the tests of a suite do with its platform; a suite calls this once, before its tests. */
export function openSteps<C>(subject: ConnectorSubject<C>) {
  const { connector } = subject;
  let platform: TestPlatform;
  const opened = closeAfterTests();
  before(async () => {
    platform = opened.use(await startTestPlatform(connector.channel, subject.simulatorAccount));
  });
  beforeEach(() => platform.repair());

  function account(settings = platform.settings, credentials = subject.credentials) {
    return {
      channelAccountId: newId<ChannelAccountId>(0),
      channel: connector.channel,
      name: "test",
      credentials,
      settings,
    };
  }

  function part(payload: MessagePayload, rest: Partial<OutboundPart> = {}): OutboundPart {
    return {
      deliveryId: randomUUID(),
      partIndex: 0,
      identifier: subject.person,
      payload,
      quotedProviderMessageId: null,
      targetProviderMessageId: null,
      ...(payload.type === "file" && { file: outboundFile("document", "application/pdf") }),
      ...rest,
    };
  }

  /** Sends, and checks that the outcome contains no secret and no text. */
  async function send(given: OutboundPart, to = account(), io: ConnectorIo = platform.io): Promise<SendOutcome> {
    const outcome = await connector.send(given, to, io);
    const shown = JSON.stringify(outcome);
    for (const secret of [...subject.secrets, canary])
      assert.ok(!shown.includes(secret), `the outcome contains ${secret}: ${shown}`);
    return outcome;
  }

  return {
    get platform(): TestPlatform {
      return platform;
    },
    account,
    part,
    send,
    sendText: (to?: ReturnType<typeof account>, io?: ConnectorIo) => send(part(text), to, io),
    /** The platform's id of a message that went through. */
    async sendFirst(): Promise<string> {
      const outcome = await send(part(text));
      assert.equal(outcome.kind, "sent", JSON.stringify(outcome));
      return outcome.kind === "sent" ? outcome.providerMessageId : "";
    },
  };
}
