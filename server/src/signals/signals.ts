/** The entrance of signals: read marks and typing, shown to people on platforms. */
import { type ChannelAccounts, type ConnectedAccount, countedWaitMs } from "../channel-accounts/channel-accounts.ts";
import type { Connector, ConnectorIo, PersonSignal, SendOutcome } from "../connectors/connector.ts";
import { readConversation, typeInConversation } from "../conversations/conversations.ts";
import type { Principal } from "../credentials/credentials.ts";
import { codeOf } from "../deliveries/judge.ts";
import { markRead } from "../deliveries/mark-read.ts";
import { type RefuseDeps, refuseAccount } from "../deliveries/refuse-account.ts";
import type { Pool } from "../lib/postgres.ts";
import type { Db } from "../lib/query.ts";
import { noteRead, type ReadMark, settle, takeDue, takeOfConversation } from "./read-marks.ts";
import { findTyping, type TypingTarget } from "./typing-targets.ts";

export interface SignalDeps extends RefuseDeps {
  accounts: Pick<ChannelAccounts, "get" | "needsAttention">;
  connectors: readonly Connector[];
  io: ConnectorIo;
  /** How long a read mark is retried, in milliseconds. */
  retryTotalMs: number;
}

/** A person to whom the signal is not shown, and why. */
export interface NotShown {
  participant_id: string | null;
  channel: string;
  channel_account_id: string;
  code: string;
  /** Whether the hub retries it. */
  is_retried: boolean;
}

export interface Signals {
  /** As `readConversation`. The read marks for platforms are durable when this resolves. */
  read(db: Pool, principal: Principal, conversationId: string, seq: number): Promise<void>;
  /** Sends the waiting read marks of the conversation. Resolves with those that a platform has not taken. */
  sendReadMarks(db: Db, conversationId: string): Promise<NotShown[]>;
  /** Sends the read marks that are due. */
  sendDueReadMarks(db: Db): Promise<void>;
  /** Throws as `typeInConversation` unless the caller may type there. */
  mayType(db: Db, principal: Principal, conversationId: string): Promise<void>;
  /** Shows the others in the conversation that somebody is typing, where their next message would go. */
  showTyping(db: Db, principal: Principal, conversationId: string): Promise<NotShown[]>;
}

/** Time limit of one call to a platform: the caller of the API waits for it. In milliseconds. */
const timeoutMs = 3_000;
/** Typing of one participant in a conversation is sent once in this time: platforms show it for at least 5 s. In milliseconds. */
const quietMs = 4_000;
/** Most conversations and participants whose last typing is remembered. */
const maxRemembered = 10_000;
/** Read marks taken at a time. */
const dueBatch = 100;

export function openSignals(deps: SignalDeps): Signals {
  const { accounts, connectors, io } = deps;
  const { clock } = io;
  const byChannel = new Map(connectors.map((connector) => [connector.channel, connector]));
  const withReadMarks = connectors.filter(({ capabilities }) => capabilities.readMarks).map(({ channel }) => channel);
  const briefly = { ...io, timeoutMs: Math.min(io.timeoutMs, timeoutMs) };
  const typing = new Map<string, { at: number; answer: Promise<NotShown[]> }>();

  /** Makes one call over an active account; null when the channel has no such call. */
  async function signal(
    channelAccountId: string,
    call: (connector: Connector, account: ConnectedAccount) => Promise<SendOutcome> | undefined,
  ): Promise<{ code: string | null; isRefused?: boolean; account: ConnectedAccount } | null> {
    const account = await accounts.get(channelAccountId);
    const connector = account === null ? undefined : byChannel.get(account.channel);
    if (account === null || connector === undefined) return null;
    if (account.status !== "active") return { code: `CHANNEL_ACCOUNT_${account.status.toUpperCase()}`, account };
    const outcome = await call(connector, account);
    if (outcome === undefined) return null;
    if (outcome.kind === "sent") return { code: null, account };
    if (outcome.kind !== "account_refused") {
      return { code: codeOf(outcome), isRefused: outcome.kind === "refused", account };
    }
    await refuseAccount(deps, account, outcome);
    return { code: "CHANNEL_ACCOUNT_NEEDS_ATTENTION", account };
  }

  /** Adds the mark to `over` when it needs no further try. */
  async function sendMark(mark: ReadMark, over: ReadMark[]): Promise<NotShown[]> {
    const { channelAccountId, identifier, channel } = mark;
    const to: PersonSignal = { identifier, messageId: mark.providerMessageId };
    const told = await signal(channelAccountId, (connector, account) => connector.markRead?.(to, account, briefly));
    if (told === null || told.code === null) {
      over.push(mark);
      return [];
    }
    const { code, isRefused = false, account } = told;
    const waitedMs = countedWaitMs(account, mark.ageMs, clock);
    const isOver = isRefused || (account.status === "active" && waitedMs > deps.retryTotalMs);
    if (isOver) over.push(mark);
    return [{ participant_id: null, channel, channel_account_id: channelAccountId, code, is_retried: !isOver }];
  }

  async function sendMarks(db: Db, marks: readonly ReadMark[]): Promise<NotShown[]> {
    const over: ReadMark[] = [];
    const told = await Promise.allSettled(marks.map((mark) => sendMark(mark, over)));
    await settle(db, over);
    return told.flatMap((one) => {
      if (one.status === "rejected") throw one.reason;
      return one.value;
    });
  }

  async function showTo({ recipientId, channelAccountId, channel, identifier, messageId }: TypingTarget) {
    const needsMessage = byChannel.get(channel)?.capabilities.typing === "answer";
    const told =
      needsMessage && messageId === null
        ? { code: "NOTHING_TO_ANSWER" }
        : await signal(channelAccountId, (connector, account) =>
            connector.showTyping?.({ identifier, messageId }, account, briefly),
          );
    if (told === null || told.code === null) return [];
    const where = { participant_id: recipientId, channel, channel_account_id: channelAccountId };
    return [{ ...where, code: told.code, is_retried: false }];
  }

  return {
    async read(db, principal, conversationId, seq) {
      await readConversation(
        {
          db,
          clock,
          async markRead(tx, range) {
            await noteRead(tx, range, withReadMarks);
            // Last: a changed status takes the lock of the feed.
            await markRead(tx, range);
          },
        },
        principal,
        conversationId,
        seq,
      );
    },
    sendReadMarks: async (db, conversationId) => sendMarks(db, await takeOfConversation(db, conversationId)),
    sendDueReadMarks: async (db) => void (await sendMarks(db, await takeDue(db, dueBatch))),
    mayType: typeInConversation,
    showTyping(db, principal, conversationId) {
      const now = clock.elapsed();
      // Another participant is shown to others: the first one may be among them.
      const key = `${conversationId} ${principal.participantId}`;
      const last = typing.get(key);
      if (last !== undefined && now - last.at < quietMs) return last.answer;
      if (typing.size >= maxRemembered) typing.clear();
      const answer = findTyping(
        db,
        principal,
        conversationId,
        (channel) => byChannel.get(channel)?.capabilities ?? null,
      )
        .then((targets) => Promise.all(targets.map(showTo)))
        .then((answers) => answers.flat());
      typing.set(key, { at: now, answer });
      answer.catch(() => typing.delete(key));
      return answer;
    },
  };
}
