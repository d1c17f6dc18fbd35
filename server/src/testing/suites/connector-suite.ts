/**
 * What every connector promises, run over one of them: `connectorSuite({...})` in `<channel>.test.ts`. A capability that the
 * subject has no sample, fixture or response for fails.
 */
import { suite } from "node:test";
import type { MessagePayload, PayloadType } from "../../../../contract/src/payloads.ts";
import type { Capabilities, Connector } from "../../connectors/connector.ts";
import { connectingSuite } from "./connector-connecting-suite.ts";
import { fileSuite } from "./connector-file-suite.ts";
import { sendingSuite } from "./connector-sending-suite.ts";
import { webhookSuite } from "./connector-webhooks-suite.ts";

export interface ConnectorSubject<Credentials> {
  readonly connector: Connector<Credentials>;
  /** Those of the fixtures and of the simulator's account. No outcome may contain a secret of them. */
  readonly credentials: Credentials;
  /** Wrong ones of the right shape, as after a revocation. */
  readonly revoked: Credentials;
  /** The values in `credentials` that must never be seen. */
  readonly secrets: readonly string[];
  /** The account in the fields of the simulator. */
  readonly simulatorAccount: object;
  /** The folder with `<kind>.json`, a body as the platform sends it, beside `<kind>.events.json`, what it says. */
  readonly fixtures: URL;
  /** Headers with which the platform proves that this body is its own. */
  readonly sign: (rawBody: Buffer, credentials: Credentials) => Record<string, string>;
  /** Whether the proof covers the body, or only knows a secret. */
  readonly signsBody: boolean;
  /** A person whom the simulator reaches, and spellings of identifiers with what is stored for each. */
  readonly person: string;
  readonly identifiers: readonly (readonly [given: string, stored: string | null])[];
  /** One of each payload type in the capabilities; a reaction is sent to a message that was sent before. */
  readonly samples: Partial<Record<PayloadType, MessagePayload>>;
  /** Payload types and how the simulator shows them, where the platform has another word. */
  readonly kinds?: Partial<Record<PayloadType, string>>;
  /** What the platform's own 500 means here. */
  readonly serverError: "retry" | "unknown";
}

export function connectorSuite<Credentials>(subject: ConnectorSubject<Credentials>): void {
  const { channel } = subject.connector;
  suite(`the ${channel} connector, receiving`, () => webhookSuite(subject));
  suite(`the ${channel} connector, sending`, () => sendingSuite(subject));
  const capabilities: Capabilities = subject.connector.capabilities;
  if (capabilities.payloads.includes("file")) suite(`the ${channel} connector, files`, () => fileSuite(subject));
  suite(`the ${channel} connector, connecting`, () => connectingSuite(subject));
}
