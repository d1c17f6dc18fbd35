import { deleteOldVerifications } from "./contacts/contacts.ts";
import type { Context } from "./context.ts";
import { deleteOldSessions } from "./credentials/credentials.ts";
import { startFallbacks } from "./deliveries/fallbacks.ts";
import { deleteOldEvents } from "./events/events.ts";
import { deleteOldIdempotencyKeys } from "./http/idempotency-keys.ts";
import { deleteOldWebhooks } from "./inbound/inbound.ts";
import type { Pool } from "./lib/postgres.ts";
import { repeat } from "./lib/repeat.ts";
import { deleteOldPasswordResets, deleteOldTries, deleteOldUsedValues } from "./log-in/log-in.ts";
import { applyMissedReceipts, deleteOldEarlyReceipts } from "./receipts/receipts.ts";
import { resealOld } from "./sealed-columns.ts";
import { deleteOldInvitations } from "./users/users.ts";
import { deleteOldWebhookDeliveries, giveUpDisabled } from "./webhook-endpoints/webhook-endpoints.ts";

/** What is looked after now and then, and how often. Each may run in several processes at once. */
const chores = [
  { name: "fallbacks", everyMs: 1_000, work: startFallbacks },
  { name: "receipts that were missed", everyMs: 2_000, work: applyMissedReceipts },
  { name: "read marks", everyMs: 2_000, work: ({ signals, db }) => signals.sendDueReadMarks(db) },
  { name: "old early receipts", everyMs: 3_600_000, work: deleteOldEarlyReceipts },
  { name: "old address verifications", everyMs: 3_600_000, work: deleteOldVerifications },
  { name: "old idempotency keys", everyMs: 600_000, work: deleteOldIdempotencyKeys },
  { name: "old sessions", everyMs: 3_600_000, work: deleteOldSessions },
  { name: "old invitations", everyMs: 3_600_000, work: deleteOldInvitations },
  { name: "old password resets", everyMs: 3_600_000, work: deleteOldPasswordResets },
  { name: "old values of log-ins", everyMs: 600_000, work: deleteOldUsedValues },
  { name: "old events", everyMs: 600_000, work: clearEvents },
  { name: "old failed log-ins", everyMs: 600_000, work: deleteOldTries },
  { name: "secrets sealed with an old key", everyMs: 600_000, work: resealOld },
  { name: "old webhooks", everyMs: 600_000, work: deleteOldWebhooks },
  { name: "old webhook deliveries", everyMs: 600_000, work: deleteOldWebhookDeliveries },
  { name: "disabled webhook endpoints", everyMs: 10_000, work: giveUpDisabled },
] as const satisfies readonly {
  name: string;
  everyMs: number;
  work: (context: Context & { db: Pool }) => Promise<unknown>;
}[];

/** Messages wait while these fail. While others fail, the hub only keeps data that it does not need. */
const onThePath = new Set<string>(["fallbacks", "receipts that were missed"]);

function clearEvents({ db, clock, config }: Context & { db: Pool }): Promise<number> {
  return deleteOldEvents(db, new Date(clock.now()), config.events.retentionMs);
}

/** Keeps what is no longer needed from piling up. A failed chore is tried again the next time. */
export function startMaintenance(context: Context): { close(): Promise<void> } {
  const { clock, troubles } = context;
  const running = chores.map(({ name, everyMs, work }) =>
    repeat(
      clock,
      everyMs,
      async () => {
        await work({ ...context, db: context.pipelineDb });
        troubles.worked(name);
      },
      (error) => troubles.failed(name, error, { isMinor: !onThePath.has(name) }),
    ),
  );
  return { close: async () => void (await Promise.all(running.map((chore) => chore.close()))) };
}
