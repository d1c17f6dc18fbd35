/** Conversations: their members, and how far each one has read. */
export { type Activity, loadActivities } from "./activity.ts";
export {
  type CapabilitiesOf,
  getCapabilities,
  type MemberCapabilities,
  type MessagingWindow,
  showWindow,
  windowOf,
} from "./capabilities.ts";
export { addMember, changeConversation, removeMember } from "./change-conversation.ts";
export {
  continuationOf,
  findConversation,
  getConversation,
  loadConversations,
  readLengths,
  showConversation,
  takesUnquoted,
} from "./conversation.ts";
export { createConversation } from "./create-conversation.ts";
export { type Direct, findOrCreateDirects } from "./direct.ts";
export { findDirectsTo, type NewDirect } from "./direct-to.ts";
export { type ListedConversation, listConversations } from "./list-conversations.ts";
export { leaveGroups, moveMemberships } from "./memberships.ts";
export { type ReadRange, readConversation, type SaveRead, typeInConversation } from "./reading.ts";
