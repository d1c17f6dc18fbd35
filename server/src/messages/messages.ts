/** Messages: preparing, accepting, storing and showing them. */
export { Acceptor, type AcceptResult, messagesInParts } from "./accept.ts";
export { checkFirstMessages } from "./first-messages.ts";
export { readHistory } from "./history.ts";
export {
  channelsOf,
  checkSend,
  type DirectMessage,
  type Draft,
  draftMessage,
  type PrepareDeps,
  prepareMessage,
  resolveDrafts,
  storable,
} from "./prepare.ts";
export { type DeliveryRow, type MessageRow, readMessage, showDelivery, showMessages } from "./show.ts";
export { readAuditTrail, readTrace } from "./trace.ts";
export {
  countSteps,
  findAccepted,
  type MessageRouter,
  type NewMessage,
  type RoutedRow,
  type RoutePlan,
} from "./write-messages.ts";
