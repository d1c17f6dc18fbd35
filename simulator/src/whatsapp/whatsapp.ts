import type { Account } from "../accounts.ts";
import type { Face, OpenFace, Receipt } from "../face.ts";
import { faultNames } from "../faults.ts";
import type { StoredMessage } from "../messages.ts";
import { invalid } from "../problem.ts";
import { readAccount, type WhatsAppAccount } from "./account.ts";
import { graphMethods, serveGraph } from "./graph.ts";
import { personWrites } from "./inbound.ts";
import { expireUrls } from "./media.ts";
import { identifierOf, readPerson } from "./people.ts";
import { type ReceiptPlan, receiptEvents, sentOf } from "./receipts.ts";
import { openState, restoreWindows, saveWindows, type WhatsAppState } from "./state.ts";
import { type EventBody, type Failure, failures, type WhatsAppEvent, webhookRules } from "./webhook.ts";

const statuses = ["sent", "delivered", "read", "played", "failed"];

export const whatsapp: Face = {
  channel: "whatsapp",
  methods: graphMethods,
  faults: faultNames,
  settings: {},
  checkSettings() {},
  readAccount,
  person(text) {
    const person = readPerson(text);
    return person && identifierOf(person);
  },
  open(world): OpenFace {
    const state = openState(world);
    return {
      webhooks: webhookRules,
      serve: (app) => serveGraph(app, state),
      inbound: (account, input) => personWrites(state, account as WhatsAppAccount, input),
      receipt: (message, receipt) => sendStatus(state, message, receipt),
      block: (account, person, blocked) => block(state, account, person, blocked),
      expireUrls: (mediaId) => expireUrls(state, mediaId),
      promised: (message, firstNumber, plan) =>
        receiptEvents(message.account, message.to, sentOf(message), plan as ReceiptPlan, firstNumber),
      remember: (seen) => remember(state, seen),
      saveState: () => saveWindows(state),
      restoreState: (saved) => restoreWindows(state, saved),
      reset() {
        state.blocked.clear();
        state.lastWrittenAt.clear();
      },
    };
  },
};

/** The window of a person who wrote in an earlier run stays open. */
function remember({ lastWrittenAt }: WhatsAppState, seen: Parameters<OpenFace["remember"]>[0]): void {
  if (!("webhook" in seen)) return;
  const { account, happenedAt, body } = seen.webhook as WhatsAppEvent;
  if (body.kind !== "message") return;
  const { wa_id, user_id } = body.contact;
  lastWrittenAt.set(`${account} ${wa_id ?? user_id}`, happenedAt);
}

function sendStatus({ world }: WhatsAppState, message: StoredMessage, receipt: Receipt): void {
  const { status } = receipt;
  if (!statuses.includes(status)) throw invalid(`status must be one of ${statuses.join(", ")}`);
  const at = world.now();
  const failure = status === "failed" ? failureFrom(receipt) : undefined;
  const body: EventBody = { kind: "status", sent: sentOf(message), status, at, failure };
  const number = world.webhooks.reserve(1);
  const { account, to: person } = message;
  const event = { number, channel: "whatsapp", account, person, happenedAt: at, dueAt: at, body };
  world.journal.webhook(event);
  world.webhooks.promise(event);
}

function failureFrom({ code, title, details }: Receipt): Failure {
  const known = Object.values(failures).find((failure) => failure.code === code) ?? failures.undeliverable;
  if (code === undefined || code === known.code) {
    return { code: known.code, title: title ?? known.title, details: details ?? known.details };
  }
  return { code, title: title ?? "Message failed", details: details ?? title ?? "Message failed." };
}

function block({ blocked }: WhatsAppState, account: Account, identifier: string, isBlocked: boolean): void {
  const person = readPerson(identifier);
  const name = `${account.id} ${person?.kind === "phone" ? person.waId : identifier}`;
  if (isBlocked) blocked.set(name, true);
  else blocked.delete(name);
}
