import { openChecker, type Report } from "../../../e2e/src/checker.ts";
import { numberOf, textOf } from "../load/requests.ts";
import { CheckFailed } from "../measure.ts";
import { moved } from "../movement.ts";
import { call, each } from "./setup.ts";
import type { Stage } from "./stage.ts";

/** Messages whose whole trail of statuses is read. */
const sampled = 200;
const pageSize = 200;

type Delivered = Pick<Stage, "authorization" | "conversations" | "inbox" | "accepted"> & {
  hub: Pick<Stage["hub"], "url">;
};

/**
 * Every message that the stage's hub accepted is in its conversation and reached its person once and in order, its statuses
 * never moved back, and all of them ended as `read`.
 */
export async function checkDelivered(stage: Delivered): Promise<void> {
  const { hub, authorization, conversations, inbox, accepted } = stage;
  const checker = openChecker();
  const seen = new Set<number>();
  const messageIds: string[] = [];
  let unread = 0;
  await each(conversations, async ({ conversationId, address }) => {
    for await (const { message_id, seq, payload, status } of listMessages(stage, conversationId)) {
      checker.accepted({
        conversation: conversationId,
        seq,
        messageId: message_id,
        recipients: [address],
        text: payload.text,
      });
      seen.add(numberOf(payload.text));
      messageIds.push(message_id);
      if (status !== "read") unread += 1;
    }
    moved("a conversation that was checked");
  });
  for (let number = 1; number <= accepted; number += 1) {
    if (!seen.has(number)) throw new CheckFailed(`"${textOf(number)}" was accepted and is in no conversation.`);
  }
  if (seen.size !== accepted || messageIds.length !== accepted) {
    throw new CheckFailed(`${accepted} messages were accepted, ${messageIds.length} are there.`);
  }
  for (const { to, text } of inbox.messages) checker.received({ recipient: `whatsapp:${to}`, key: text });
  const step = Math.max(1, Math.floor(messageIds.length / sampled));
  await each(
    messageIds.filter((_, index) => index % step === 0),
    async (messageId) => {
      const path = `/v1/messages/${messageId}/events`;
      const { data } = await call<{ data: StatusChange[] }>(hub.url, path, authorization);
      for (const { delivery_id, status } of data) {
        if (delivery_id !== null) checker.status({ deliveryId: delivery_id, status });
      }
    },
  );
  const report = checker.report();
  if (!report.ok) throw new CheckFailed(describe(report));
  if (unread > 0) throw new CheckFailed(`${unread} of ${accepted} messages were not read in the end.`);
}

interface StatusChange {
  delivery_id: string | null;
  status: string;
}

interface ListedMessage {
  message_id: string;
  seq: number;
  payload: { text: string };
  status: string;
}

async function* listMessages({ hub, authorization }: Delivered, conversationId: string): AsyncGenerator<ListedMessage> {
  for (let after = 0; ; ) {
    const path = `/v1/conversations/${conversationId}/messages?after_seq=${after}&limit=${pageSize}`;
    const { data } = await call<{ data: ListedMessage[] }>(hub.url, path, authorization);
    yield* data;
    if (data.length === 0) return;
    after = data.at(-1)!.seq;
  }
}

function describe({ counts, lost, unexpected, duplicated, outOfOrder, movedBack, gaps }: Report): string {
  const findings: readonly (readonly object[])[] = [lost, unexpected, duplicated, outOfOrder, movedBack, gaps];
  const examples = findings.flatMap((list) => list.slice(0, 2));
  return `${JSON.stringify(counts)}; such as ${JSON.stringify(examples)}`;
}
