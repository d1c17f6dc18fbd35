import type { Bus } from "../../bus/bus.ts";
import type { PipelineDb } from "../../database-roles.ts";
import type { Clock } from "../../lib/clock.ts";

export interface Receipt {
  channelAccountId: string;
  providerMessageId: string;
  deliveryId: string | null;
  status: "sent" | "delivered" | "read" | "failed";
  error: { code: string; message: string } | null;
  /** By the platform's clock. */
  at: Date;
  webhookId: string | null;
}

export interface ReceiptDeps {
  db: PipelineDb;
  bus: Bus;
  clock: Clock;
}
