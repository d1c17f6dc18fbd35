/** The life of a delivery: routed, sent, and what its receipts make of it. */
export { startFallbacks } from "./fallbacks.ts";
export { markRead } from "./mark-read.ts";
export { openTaker } from "./mark-taken.ts";
export { deleteOldProviderMessages } from "./old-provider-messages.ts";
export { type LanePlace, type OutgoingRecord, publishOutgoing, wakeOutgoing } from "./outgoing.ts";
export type { PipelineDeps } from "./pipeline-deps.ts";
export {
  applyMissedReceipts,
  applyReceipts,
  deleteOldEarlyReceipts,
  type Receipt,
  type StoredWith,
} from "./receipts/receipts.ts";
export { openRouter } from "./route-at-once.ts";
export { giveUpRouting } from "./routing/give-up-routing.ts";
export { type AcceptedRecord, loadAccounts, loadRecipients } from "./routing/load-routing.ts";
export { type CapabilitiesOf, planDeliveries } from "./routing/plan.ts";
export { preflight } from "./routing/preflight.ts";
export { laneOf, routeMessages } from "./routing/route-messages.ts";
export { consumerGroup, type Deliverer, openDeliverer, type Reservation } from "./sending/deliverer.ts";
export { readHealth } from "./sending/health.ts";
export { codeOf, type JudgePolicy } from "./sending/judge.ts";
export { type RefuseDeps, refuseAccount } from "./sending/refuse-account.ts";
