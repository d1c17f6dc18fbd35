import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Capabilities } from "../../connectors/connector.ts";
import { type Account, type PlannedDelivery, planDeliveries, type Recipient, type RoutedMessage } from "./plan.ts";

const capabilities = (payloads: Capabilities["payloads"]): Capabilities => ({
  payloads,
  maxTextLength: 4096,
  media: [],
  receipts: ["sent"],
  replies: true,
  ratePerSecond: 10,
  windowHours: null,
  afterUnknown: "resend",
  typing: "never",
  readMarks: false,
});
const spoken: Record<string, Capabilities> = { phone: capabilities(["text", "file"]), chat: capabilities(["text"]) };
const accounts: Account[] = [
  { channelAccountId: "phone 1", channel: "phone", isActive: true },
  { channelAccountId: "phone 2", channel: "phone", isActive: true },
  { channelAccountId: "chat 1", channel: "chat", isActive: true },
];
const message: RoutedMessage = {
  senderId: "me",
  payloadType: "text",
  channels: null,
  via: {},
  fallbackOrder: null,
  retryOf: null,
};

const address = (
  channel: string,
  identifier: string,
  lastReceivedAt: number | null = null,
  by: string | null = null,
) => {
  return { channel, identifier, lastReceivedAt, lastChannelAccountId: by };
};
const contact = (...addresses: Recipient["addresses"]): Recipient => ({
  participantId: "ana",
  kind: "contact",
  addresses,
});

function plan(change: Partial<RoutedMessage>, ...recipients: Recipient[]): string[] {
  return planDeliveries({ ...message, ...change }, recipients, accounts, (name) => spoken[name] ?? null).map(
    describePlan,
  );
}

function describePlan(planned: PlannedDelivery): string {
  switch (planned.kind) {
    case "app":
      return `${planned.recipientId} in the app`;
    case "channel":
      return `${planned.recipientId} at ${planned.channel}:${planned.identifier} by ${planned.channelAccountId}`;
    case "unroutable":
      return `${planned.recipientId} not on ${planned.channel}: ${planned.code}`;
    default:
      return planned satisfies never;
  }
}

test("an account that needs attention is chosen when it is named, was used last, or is the only one", () => {
  const mixed = accounts.map((account) => ({ ...account, isActive: account.channelAccountId === "phone 2" }));
  const taken = (change: Partial<RoutedMessage>, ...addresses: Recipient["addresses"]) =>
    planDeliveries({ ...message, ...change }, [contact(...addresses)], mixed, (name) => spoken[name] ?? null).map(
      describePlan,
    );
  assert.deepEqual(taken({}, address("phone", "1")), ["ana at phone:1 by phone 2"]);
  assert.deepEqual(taken({}, address("phone", "1", 5, "phone 1")), ["ana at phone:1 by phone 1"]);
  assert.deepEqual(taken({ via: { phone: "phone 1" } }, address("phone", "1")), ["ana at phone:1 by phone 1"]);
  assert.deepEqual(taken({}, address("chat", "a")), ["ana at chat:a by chat 1"]);
});

test("a contact gets a message at the expected address", () => {
  const phone = address("phone", "1");
  const chat = address("chat", "a");
  const cases: [what: string, got: string[], wanted: string[]][] = [
    ["the first address", plan({}, contact(phone, chat)), ["ana at phone:1 by phone 1"]],
    ["the channel of the last message", plan({}, contact(phone, address("chat", "a", 5))), ["ana at chat:a by chat 1"]],
    [
      "the last used of two",
      plan({}, contact(address("phone", "1", 9), address("chat", "a", 5))),
      ["ana at phone:1 by phone 1"],
    ],
    ["the account last used", plan({}, contact(address("phone", "1", 5, "phone 2"))), ["ana at phone:1 by phone 2"]],
    [
      "the oldest, when that one is gone",
      plan({}, contact(address("phone", "1", 5, "phone 9"))),
      ["ana at phone:1 by phone 1"],
    ],
    ["the account asked for", plan({ via: { phone: "phone 2" } }, contact(phone)), ["ana at phone:1 by phone 2"]],
    [
      "the alias of the last message",
      plan({}, contact(phone, address("phone", "2", 5))),
      ["ana at phone:2 by phone 1"],
    ],
    ["the channel asked for", plan({ channels: "chat" }, contact(phone, chat)), ["ana at chat:a by chat 1"]],
    [
      "each asked for",
      plan({ channels: "chat,phone" }, contact(phone, chat)),
      ["ana at chat:a by chat 1", "ana at phone:1 by phone 1"],
    ],
    [
      "once, also when asked for twice",
      plan({ channels: "phone,phone" }, contact(phone)),
      ["ana at phone:1 by phone 1"],
    ],
    ["only where there is an address", plan({ channels: "chat,phone" }, contact(phone)), ["ana at phone:1 by phone 1"]],
    [
      "everywhere",
      plan({ channels: "*" }, contact(phone, chat)),
      ["ana at phone:1 by phone 1", "ana at chat:a by chat 1"],
    ],
    ["nowhere on it", plan({ channels: "chat" }, contact(phone)), ["ana not on chat: NO_ADDRESS"]],
    ["nowhere at all", plan({}, contact()), ["ana not on none: NO_ADDRESS"]],
    ["no account", plan({}, contact(address("fax", "1"))), ["ana not on fax: NO_CHANNEL_ACCOUNT"]],
    ["not of that type", plan({ payloadType: "file" }, contact(chat)), ["ana not on chat: PAYLOAD_NOT_SUPPORTED"]],
    [
      "the first of a fallback",
      plan({ fallbackOrder: ["chat", "phone"] }, contact(phone, chat)),
      ["ana at chat:a by chat 1"],
    ],
    [
      "the first possible of a fallback",
      plan({ fallbackOrder: ["chat", "phone"] }, contact(phone)),
      ["ana at phone:1 by phone 1"],
    ],
    ["no fallback left", plan({ fallbackOrder: ["chat"] }, contact(phone)), ["ana not on chat: NO_ADDRESS"]],
    [
      "the next of a fallback",
      plan(
        { fallbackOrder: ["chat", "phone"], retryOf: { recipientId: "ana", channel: "chat" } },
        contact(phone, chat),
      ),
      ["ana at phone:1 by phone 1"],
    ],
    [
      "nothing after the last",
      plan({ fallbackOrder: ["chat"], retryOf: { recipientId: "ana", channel: "chat" } }, contact(chat)),
      [],
    ],
  ];
  for (const [what, got, wanted] of cases) assert.deepEqual(got, wanted, what);
});

test("users also get it in the app, the sender nowhere", () => {
  const user: Recipient = { participantId: "rui", kind: "user", addresses: [address("phone", "7")] };
  const me: Recipient = { participantId: "me", kind: "user", addresses: [address("phone", "8")] };
  assert.deepEqual(plan({}, user, me), ["rui in the app", "rui at phone:7 by phone 1"]);
  assert.deepEqual(plan({ channels: "chat" }, user), ["rui in the app"]);
});

test("the workspace gets messages of contacts and those to it alone, not those of its users to others", () => {
  const workspace: Recipient = { participantId: "acme", kind: "workspace", addresses: [] };
  const user: Recipient = { participantId: "rui", kind: "user", addresses: [] };
  const me = (kind: Recipient["kind"]): Recipient => ({
    participantId: "me",
    kind,
    addresses: [address("phone", "8")],
  });
  assert.deepEqual(plan({}, workspace, me("contact")), ["acme in the app"]);
  assert.deepEqual(plan({}, workspace, user, me("contact")), ["acme in the app", "rui in the app"]);
  assert.deepEqual(plan({}, workspace, me("user")), ["acme in the app"]);
  assert.deepEqual(plan({}, workspace, user, me("user")), ["rui in the app"]);
});

const anyAddress = fc.record({
  channel: fc.constantFrom("phone", "chat", "fax"),
  identifier: fc.constantFrom("1", "2", "3"),
  lastReceivedAt: fc.option(fc.nat(9)),
  lastChannelAccountId: fc.option(fc.constantFrom("phone 1", "phone 2", "chat 1", "gone")),
});
const anyRecipient = fc.record({
  participantId: fc.constantFrom("me", "ana", "rui", "eva"),
  kind: fc.constantFrom("user", "contact", "workspace"),
  addresses: fc.array(anyAddress, { maxLength: 4 }),
});
const anyMessage = fc.record({
  senderId: fc.constant("me"),
  payloadType: fc.constantFrom("text", "file", "reaction"),
  channels: fc.constantFrom(null, "*", "phone", "chat", "phone,chat", "chat,fax"),
  via: fc.constantFrom({}, { phone: "phone 2" }, { chat: "gone" }),
  fallbackOrder: fc.constantFrom(null, ["phone"], ["chat", "phone", "fax"]),
  retryOf: fc.constant(null),
});

test("the same facts give the same plan, with each recipient once", () => {
  fc.assert(
    fc.property(
      anyMessage,
      fc.uniqueArray(anyRecipient, { selector: (recipient) => recipient.participantId, maxLength: 4 }),
      (routed, recipients) => {
        const before = JSON.stringify({ routed, recipients });
        const run = () =>
          planDeliveries(routed as RoutedMessage, recipients as Recipient[], accounts, (name) => spoken[name] ?? null);
        const planned = run();
        assert.deepEqual(run(), planned);
        assert.equal(JSON.stringify({ routed, recipients }), before);
        const reached = new Set(planned.map((one) => one.recipientId));
        const others = recipients.filter((one) => one.participantId !== "me");
        const isForWorkspace =
          recipients.some((one) => one.participantId === "me" && one.kind === "contact") ||
          others.every((one) => one.kind === "workspace");
        const expected = others.filter((one) => one.kind !== "workspace" || isForWorkspace);
        assert.deepEqual(reached, new Set(expected.map((one) => one.participantId)));
        const places = planned.map((one) => `${one.recipientId} ${one.kind === "app" ? "app" : one.channel}`);
        assert.equal(new Set(places).size, places.length);
        for (const one of planned) {
          if (one.kind !== "channel") continue;
          assert.ok(accounts.some((a) => a.channelAccountId === one.channelAccountId && a.channel === one.channel));
          assert.ok(spoken[one.channel]!.payloads.includes(routed.payloadType as "text"));
        }
      },
    ),
    { numRuns: 500 },
  );
});
