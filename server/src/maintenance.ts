import { deleteOldVerifications } from "./contacts/contacts.ts";
import type { Context } from "./context.ts";
import { deleteOldSessions } from "./credentials/credentials.ts";
import type { PipelineDb } from "./database-roles.ts";
import { applyMissedReceipts, deleteOldEarlyReceipts, startFallbacks } from "./deliveries/deliveries.ts";
import { deleteOldEvents } from "./events/events.ts";
import { abortStrayUploads, giveUpUploads, removeObjects } from "./files/files.ts";
import { deleteOldIdempotencyKeys } from "./http/idempotency-keys.ts";
import type { Clock } from "./lib/clock.ts";
import { repeat } from "./lib/repeat.ts";
import { deleteOldPasswordResets, deleteOldTries, deleteOldUsedValues } from "./log-in/log-in.ts";
import { dropOldPartitions, makeMissingPartitions } from "./partitions.ts";
import { resealOld } from "./sealed-columns.ts";
import { countHours } from "./stats/stats.ts";
import { deleteOldLlmUsage } from "./summaries/summaries.ts";
import { deleteOldTasks, deleteTasksOfDeletedFiles } from "./tasks/tasks.ts";
import { deleteOldInvitations } from "./users/users.ts";
import { deleteOldWebhookDeliveries, giveUpDisabled } from "./webhook-endpoints/webhook-endpoints.ts";

interface Job {
  name: string;
  everyMs: number;
  run(context: Context): Promise<unknown>;
  /** Messages wait while it fails. While another job fails, the hub only keeps data that it does not need. */
  isOnPath?: boolean;
}

const second = 1_000;
const minute = 60 * second;

/** The maintenance jobs. Each may run in several processes at once. */
const jobs: readonly Job[] = [
  {
    name: "fallbacks",
    everyMs: second,
    isOnPath: true,
    run: ({ pipelineDb: db, bus, clock, capabilitiesOf }) => startFallbacks({ db, bus, clock, capabilitiesOf }),
  },
  {
    name: "receipts that were missed",
    everyMs: 2 * second,
    isOnPath: true,
    run: ({ pipelineDb: db, bus, clock }) => applyMissedReceipts({ db, bus, clock }),
  },
  { name: "read marks", everyMs: 2 * second, run: ({ signals, pipelineDb }) => signals.sendDueReadMarks(pipelineDb) },
  { name: "disabled webhook endpoints", everyMs: 10 * second, run: ({ pipelineDb: db }) => giveUpDisabled({ db }) },
  { name: "uploads", everyMs: minute, run: sweepFiles },
  { name: "stray uploads", everyMs: 60 * minute, run: ({ files }) => abortStrayUploads(files) },
  { name: "secrets sealed with an old key", everyMs: 10 * minute, run: resealOld },
  {
    name: "old events",
    everyMs: 10 * minute,
    run: ({ pipelineDb, clock, config }) =>
      deleteOldEvents(pipelineDb, new Date(clock.now()), config.events.retentionMs),
  },
  { name: "hourly counts", everyMs: minute, run: ({ pipelineDb: db, clock }) => countHours({ db, clock }) },
  {
    name: "old tasks",
    everyMs: 10 * minute,
    run: ({ pipelineDb: db, clock, config }) => deleteOldTasks({ db, clock }, config.tasks.retentionMs),
  },
  { name: "partitions", everyMs: 10 * minute, run: keepPartitions },
  { name: "old failed logins", everyMs: 10 * minute, run: deleteOldTries },
  deletingOld("idempotency keys", 10 * minute, deleteOldIdempotencyKeys),
  deletingOld("values of logins", 10 * minute, deleteOldUsedValues),
  deletingOld("webhook deliveries", 10 * minute, deleteOldWebhookDeliveries),
  deletingOld("early receipts", 60 * minute, deleteOldEarlyReceipts),
  deletingOld("address verifications", 60 * minute, deleteOldVerifications),
  deletingOld("sessions", 60 * minute, deleteOldSessions),
  deletingOld("use of the language model", 60 * minute, deleteOldLlmUsage),
  deletingOld("invitations", 60 * minute, deleteOldInvitations),
  deletingOld("password resets", 60 * minute, deleteOldPasswordResets),
];

async function sweepFiles({ pipelineDb: db, clock, files: { store } }: Context): Promise<void> {
  await giveUpUploads({ db, clock });
  await deleteTasksOfDeletedFiles({ db });
  await removeObjects({ db, store });
}

async function keepPartitions({ pipelineDb: db, clock, log, config: { messageRetentionMs } }: Context): Promise<void> {
  await makeMissingPartitions({ db, clock, messageRetentionMs }, new Date(clock.now()));
  await dropOldPartitions({ db, clock, log, messageRetentionMs }, clock.now());
}

function deletingOld(
  what: string,
  everyMs: number,
  work: (deps: { db: PipelineDb; clock: Clock }) => Promise<unknown>,
): Job {
  return { name: `old ${what}`, everyMs, run: ({ pipelineDb: db, clock }) => work({ db, clock }) };
}

/** Runs the maintenance jobs at their intervals. A job that failed runs again at its next interval. */
export function startMaintenance(context: Context): { close(): Promise<void> } {
  const { clock, troubles } = context;
  const running = jobs.map(({ name, everyMs, run, isOnPath = false }) =>
    repeat(
      clock,
      everyMs,
      async () => {
        await run(context);
        troubles.worked(name);
      },
      (error) => troubles.failed(name, error, { isMinor: !isOnPath }),
    ),
  );
  return { close: async () => void (await Promise.all(running.map((job) => job.close()))) };
}
