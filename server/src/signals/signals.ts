/** Read marks and typing, shown to people on platforms. */

import { type ChannelAccounts, type ConnectedAccount, countedWaitMs } from "../channel-accounts/channel-accounts.ts";
import type { Connector, ConnectorIo, PersonSignal } from "../connectors/connector.ts";
import { readConversation, type SaveRead, typeInConversation } from "../conversations/conversations.ts";
import type { Principal } from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { codeOf, markRead, type RefuseDeps, refuseAccount } from "../deliveries/deliveries.ts";
import type { ChannelAccountId, ConversationId } from "../lib/ids.ts";
import type { Db } from "../lib/query.ts";
import { insertReadMarks, type ReadMark, settle, takeDue, takeOfConversation } from "./read-marks.ts";
import { findTyping, type TypingTarget } from "./typing-targets.ts";

interface SignalDeps extends RefuseDeps {
  accounts: Pick<ChannelAccounts, "get" | "needsAttention">;
  connectors: readonly Connector[];
  io: ConnectorIo;
  retryTotalMs: number;
}

interface NotShown {
  participant_id: string | null;
  channel: string;
  channel_account_id: ChannelAccountId;
  code: string;
  is_retried: boolean;
}

/** Time limit of one call to a platform, in milliseconds: the API's client waits for it. */
const timeoutMs = 3_000;
/** How often the typing of a participant is sent, in milliseconds: platforms show it for at least 5 s. */
const quietMs = 4_000;
const maxRemembered = 10_000;
const dueBatch = 100;

export class Signals {
  readonly #deps: SignalDeps;
  readonly #byChannel: ReadonlyMap<string, Connector>;
  readonly #readMarkChannels: readonly string[];
  readonly #io: ConnectorIo;
  readonly #typing = new Map<string, { at: number; answer: Promise<NotShown[]> }>();

  constructor(deps: SignalDeps) {
    const { connectors, io } = deps;
    this.#deps = deps;
    this.#byChannel = new Map(connectors.map((connector) => [connector.channel, connector]));
    this.#readMarkChannels = connectors.flatMap(({ channel, capabilities }) =>
      capabilities.readMarks ? [channel] : [],
    );
    this.#io = { ...io, timeoutMs: Math.min(io.timeoutMs, timeoutMs) };
  }

  /** As `readConversation`. The read marks for platforms are durable when this resolves. */
  async read(db: RequestDb, principal: Principal, conversationId: ConversationId, seq: number): Promise<void> {
    const saveMarks: SaveRead = async (tx, range) => {
      await insertReadMarks(tx, range, this.#readMarkChannels);
      // Last, because a changed status takes the lock of the feed.
      await markRead(tx, range);
    };
    await readConversation({ db, clock: this.#io.clock, saveMarks }, principal, conversationId, seq);
  }

  /** Sends the waiting read marks of the conversation. Resolves with those that a platform has not taken. */
  async sendReadMarks(db: Db, conversationId: ConversationId): Promise<NotShown[]> {
    return this.#sendMarks(db, await takeOfConversation(db, conversationId));
  }

  async sendDueReadMarks(db: Db): Promise<void> {
    await this.#sendMarks(db, await takeDue(db, dueBatch));
  }

  async mayType(db: Db, principal: Principal, conversationId: ConversationId): Promise<void> {
    await typeInConversation(db, principal, conversationId);
  }

  /** Shows the other members that the caller is typing, on the channel where the caller's next message would go. */
  showTyping(db: Db, principal: Principal, conversationId: ConversationId): Promise<NotShown[]> {
    const now = this.#io.clock.elapsed();
    const key = `${conversationId} ${principal.participantId}`;
    const last = this.#typing.get(key);
    if (last !== undefined && now - last.at < quietMs) return last.answer;
    if (this.#typing.size >= maxRemembered) this.#typing.clear();
    const answer = this.#sendTyping(db, principal, conversationId);
    this.#typing.set(key, { at: now, answer });
    answer.catch(() => this.#typing.delete(key));
    return answer;
  }

  async #sendTyping(db: Db, principal: Principal, conversationId: ConversationId): Promise<NotShown[]> {
    const capabilitiesOf = (channel: string) => this.#byChannel.get(channel)?.capabilities ?? null;
    const targets = await findTyping(db, principal, conversationId, capabilitiesOf);
    return (await Promise.all(targets.map((target) => this.#showTo(target)))).flat();
  }

  async #showTo({ recipientId, channelAccountId, channel, identifier, messageId }: TypingTarget): Promise<NotShown[]> {
    const needsMessage = this.#byChannel.get(channel)?.capabilities.typing === "answer";
    const result =
      needsMessage && messageId === null
        ? { code: "NOTHING_TO_ANSWER" }
        : await this.#call(channelAccountId, "showTyping", { identifier, messageId });
    if (result === null || result.code === null) return [];
    const { code } = result;
    return [{ participant_id: recipientId, channel, channel_account_id: channelAccountId, code, is_retried: false }];
  }

  async #sendMarks(db: Db, marks: readonly ReadMark[]): Promise<NotShown[]> {
    const done: ReadMark[] = [];
    const results = await Promise.allSettled(marks.map((mark) => this.#sendMark(mark, done)));
    await settle(db, done);
    return results.flatMap((result) => {
      if (result.status === "rejected") throw result.reason;
      return result.value;
    });
  }

  /** Adds the mark to `done` when it needs no further try. */
  async #sendMark(mark: ReadMark, done: ReadMark[]): Promise<NotShown[]> {
    const { channelAccountId, identifier, channel, providerMessageId } = mark;
    const result = await this.#call(channelAccountId, "markRead", { identifier, messageId: providerMessageId });
    if (result === null || result.code === null) {
      done.push(mark);
      return [];
    }
    const { code, isRefused = false, account } = result;
    const waitedMs = countedWaitMs(account, mark.ageMs, this.#io.clock);
    const isDone = isRefused || (account.status === "active" && waitedMs > this.#deps.retryTotalMs);
    if (isDone) done.push(mark);
    return [{ participant_id: null, channel, channel_account_id: channelAccountId, code, is_retried: !isDone }];
  }

  /** Makes one call over an active account; null when the channel has no such call. */
  async #call(
    channelAccountId: ChannelAccountId,
    method: "markRead" | "showTyping",
    to: PersonSignal,
  ): Promise<{ code: string | null; isRefused?: boolean; account: ConnectedAccount } | null> {
    const account = await this.#deps.accounts.get(channelAccountId);
    const connector = account === null ? undefined : this.#byChannel.get(account.channel);
    if (account === null || connector === undefined) return null;
    if (account.status !== "active") return { code: `CHANNEL_ACCOUNT_${account.status.toUpperCase()}`, account };
    const outcome = await connector[method]?.(to, account, this.#io);
    if (outcome === undefined) return null;
    if (outcome.kind === "sent") return { code: null, account };
    if (outcome.kind !== "account_refused") {
      return { code: codeOf(outcome), isRefused: outcome.kind === "refused", account };
    }
    await refuseAccount(this.#deps, account, outcome);
    return { code: "CHANNEL_ACCOUNT_NEEDS_ATTENTION", account };
  }
}
