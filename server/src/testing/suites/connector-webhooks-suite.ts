import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { maxIdLength } from "../../connectors/clean.ts";
import type { InboundEvent, WebhookRequest } from "../../connectors/connector.ts";
import type { ConnectorSubject } from "./connector-suite.ts";

/** Runs of each property: enough to meet every branch, few enough for a second. */
const runs = 400;

/** What `connector-suite.ts` promises of webhooks and identifiers. */
export function webhookSuite<C>(subject: ConnectorSubject<C>): void {
  const { connector, credentials, revoked, fixtures, sign } = subject;
  const bodies = readFixtures(fixtures);
  const parse = (rawBody: Buffer) => [...connector.parse({ headers: {}, rawBody }, credentials)];
  const verify = (headers: WebhookRequest["headers"], rawBody: Buffer) =>
    connector.verify({ headers, rawBody }, credentials);

  for (const { kind, rawBody, events } of bodies) {
    test(`a webhook of the kind ${kind} says what was recorded`, () => assert.deepEqual(parse(rawBody), events));
  }

  test("the fixtures show every receipt of the capabilities, a message, and something to ignore", () => {
    const seen: string[] = bodies
      .flatMap(({ events }) => events)
      .map((event) => ("status" in event ? event.status : event.kind));
    const byWebhook: string[] =
      connector.capabilities.receipts.length > 1 ? [...connector.capabilities.receipts, "failed"] : [];
    for (const kind of [...byWebhook, "message", "ignored"]) assert.ok(seen.includes(kind), `no fixture has ${kind}`);
  });

  test("a body that is not JSON or has an unknown shape is ignored", () => {
    for (const body of ["", "null", "[]", "7", '"x"', "{}", '{"entry":{}}', "{", "\ufeff{}", "\xff"]) {
      assert.deepEqual(new Set(parse(Buffer.from(body, "latin1")).map(({ kind }) => kind)), new Set(["ignored"]), body);
    }
  });

  function readStorable(rawBody: Buffer): void {
    const events = parse(rawBody);
    assert.ok(events.length > 0);
    for (const event of events) assertStorable(event, connector.parseIdentifier);
  }

  // A body that cannot be parsed would be retried forever, and delay the rest of its batch.
  test("no change to a body makes parsing throw, or gives an event that cannot be stored", () => {
    const body = fc.constantFrom(...bodies.map((fixture) => fixture.rawBody));
    fc.assert(fc.property(fc.oneof(damaged(body), fc.uint8Array().map(Buffer.from)), readStorable), { numRuns: runs });
    for (const { rawBody } of bodies) {
      for (const changed of mutations(rawBody)) readStorable(changed);
    }
  });

  test("the platform's own call is accepted", () => {
    for (const { rawBody } of bodies) assert.equal(verify(sign(rawBody, credentials), rawBody), true);
  });

  test("a call without the proof, with a part of it or with another account's is refused", () => {
    const { rawBody } = bodies[0]!;
    const headers = sign(rawBody, credentials);
    assert.equal(verify({}, rawBody), false);
    assert.equal(verify(sign(rawBody, revoked), rawBody), false);
    for (const [name, value] of Object.entries(headers)) {
      for (const wrong of [
        "",
        value.slice(0, -1),
        `${value}0`,
        ` ${value}`,
        value.repeat(2),
        "é".repeat(value.length),
      ]) {
        assert.equal(verify({ ...headers, [name]: wrong }, rawBody), false, `${name}: ${wrong}`);
      }
    }
  });

  test("a call with one changed byte in the proof is refused", () => {
    const { rawBody } = bodies[0]!;
    for (const [name, value] of Object.entries(sign(rawBody, credentials))) {
      for (const wrong of withOneByteChanged(Buffer.from(value))) {
        assert.equal(verify({ [name]: wrong.toString("latin1") }, rawBody), false);
      }
    }
  });

  if (subject.signsBody)
    test("a body with one changed byte is refused", () => {
      for (const { rawBody } of bodies) {
        const headers = sign(rawBody, credentials);
        for (const wrong of withOneByteChanged(rawBody.subarray(0, 300))) {
          assert.equal(verify(headers, Buffer.concat([wrong, rawBody.subarray(300)])), false);
        }
        assert.equal(verify(headers, rawBody.subarray(1)), false);
        assert.equal(verify(headers, Buffer.concat([rawBody, Buffer.from("\n")])), false);
      }
    });

  test("an identifier is stored in one spelling", () => {
    for (const [given, stored] of subject.identifiers) assert.equal(connector.parseIdentifier(given), stored, given);
    const texts = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(..."+-().: 0123456789aBZ\u202a") }));
    fc.assert(
      fc.property(texts, (text) => {
        const stored = connector.parseIdentifier(text);
        if (stored !== null) assert.equal(connector.parseIdentifier(stored), stored);
      }),
      { numRuns: runs },
    );
  });
}

interface Fixture {
  kind: string;
  rawBody: Buffer;
  events: InboundEvent[];
}

function readFixtures(folder: URL): Fixture[] {
  const kinds = readdirSync(folder)
    .filter((name) => name.endsWith(".events.json"))
    .map((name) => name.slice(0, -".events.json".length));
  return kinds.map((kind) => ({
    kind,
    rawBody: readFileSync(new URL(`${kind}.json`, folder)),
    events: JSON.parse(readFileSync(new URL(`${kind}.events.json`, folder), "utf8")),
  }));
}

/** A body with some bytes replaced. */
function damaged(body: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  const hits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 });
  return fc.tuple(body, hits).map(([original, changes]) => {
    const copy = Buffer.from(original);
    for (const [place, byte] of changes) copy[place % copy.length] = byte;
    return copy;
  });
}

/** The body with each value in it replaced by each strange one, as JSON still. */
function* mutations(original: Buffer): Iterable<Buffer> {
  const root = { body: JSON.parse(original.toString()) };
  const places: [parent: Record<string, unknown>, key: string][] = [];
  collectPlaces(root, places);
  for (const [parent, key] of places) {
    const before = parent[key];
    for (const value of strangeValues) {
      parent[key] = value;
      yield Buffer.from(JSON.stringify(root.body));
    }
    parent[key] = before;
  }
}

const strangeValues = [
  ...["", "a\0b", "a\ud800", "x".repeat(maxIdLength + 1), "__proto__", "constructor", "-1", "99999999999999999999"],
  ...[-1, 0, 1e300, true, null, [], [null], ["x"], {}, { id: {} }],
];

function collectPlaces(value: unknown, places: [Record<string, unknown>, string][]): void {
  if (typeof value !== "object" || value === null) return;
  const parent = value as Record<string, unknown>;
  for (const key of Object.keys(parent)) {
    places.push([parent, key]);
    collectPlaces(parent[key], places);
  }
}

function* withOneByteChanged(bytes: Buffer): Iterable<Buffer> {
  for (let i = 0; i < bytes.length; i++) {
    for (const mask of [0x01, 0x20]) {
      const copy = Buffer.from(bytes);
      copy[i]! ^= mask;
      yield copy;
    }
  }
}

/** What the database, the audit trail and the lanes take for granted. */
function assertStorable(event: InboundEvent, parseIdentifier: (identifier: string) => string | null): void {
  assert.doesNotMatch(JSON.stringify(event), /\\u0000|\\ud[89a-f]/i);
  if (event.kind === "ignored") return;
  assert.ok(Number.isSafeInteger(event.at) && !Number.isNaN(new Date(event.at).getTime()));
  assert.ok(event.providerMessageId.length > 0 && event.providerMessageId.length <= maxIdLength + 100);
  if (event.kind === "receipt") return;
  for (const each of [event.identifier, ...event.aliases]) assert.equal(parseIdentifier(each), each);
  const { payload } = event;
  if (payload.type === "text") assert.ok(payload.text.length > 0 && [...payload.text].length <= 65_536);
  if (payload.type === "reaction") assert.ok(event.quotedProviderMessageId !== null);
}
