import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { ApiError, type Client, type Sent } from "../../client/src/client.ts";
import { patient } from "../../server/src/testing/patience.ts";
import { openChecker } from "./checker.ts";
import type { Person } from "./people.ts";

export interface Talk {
  conversationId: string;
  /** Who gets what is said there. */
  people: readonly Person[];
}

/** Tries at one message: with the pauses between them, a minute and more. */
const maxTries = 2_000;
const retryPauseMs = 30;
const requestTimeoutMs = patient(10_000);

/**
 * A conversation of the workspace with a person, created if it is missing, through any failure. Its first message
 * is said in it, since that makes it.
 */
export async function openTalk(client: Client, load: Load, person: Person): Promise<Talk> {
  const messageId = randomUUID();
  const text = `hello ${person.address}`;
  const sent = await untilAccepted(() =>
    client.messages.send({ message_id: messageId, to: person.address, payload: { type: "text", text } }),
  );
  const talk = { conversationId: sent.conversation_id, people: [person] };
  load.note(talk, messageId, text, sent.seq);
  return talk;
}

export type Load = ReturnType<typeof openLoad>;

/** Senders that do what a good client does: the same `message_id` again until there is a 202. */
export function openLoad(client: Client) {
  const checker = openChecker();
  let accepted = 0;
  let isStopping = false;

  function note({ conversationId, people }: Talk, messageId: string, text: string, seq: number): void {
    const recipients = people.map(({ address }) => address);
    checker.accepted({ conversation: conversationId, seq, messageId, text, recipients });
    accepted += 1;
  }

  async function say(talk: Talk, text: string): Promise<string> {
    const body = {
      message_id: randomUUID(),
      conversation_id: talk.conversationId,
      payload: { type: "text" as const, text },
    };
    const sent = await untilAccepted((signal) => client.messages.send(body, { signal }));
    note(talk, body.message_id, text, sent.seq);
    return body.message_id;
  }

  return {
    checker,
    note,
    /** Says one thing, through any failure; returns its message id. */
    say,
    /** Messages that got their 202. */
    accepted: () => accepted,
    /** Says one thing after the other in a conversation until `stop`, or `count` things. */
    async sender(talk: Talk, name: string, options: { count?: number; pauseMs?: number } = {}): Promise<void> {
      const { count = Number.MAX_SAFE_INTEGER, pauseMs = 0 } = options;
      for (let number = 1; number <= count && !isStopping; number += 1) {
        await say(talk, `${name} ${number}`);
        if (pauseMs > 0) await delay(pauseMs);
      }
    },
    stop() {
      isStopping = true;
    },
  };
}

/** Throws for what will never be accepted. */
async function untilAccepted(send: (signal: AbortSignal) => Promise<Sent>): Promise<Sent> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await send(AbortSignal.timeout(requestTimeoutMs));
    } catch (error) {
      const isPassing = !(error instanceof ApiError) || error.status >= 500;
      if (!isPassing || tries >= maxTries) throw error;
      await delay(retryPauseMs);
    }
  }
}
