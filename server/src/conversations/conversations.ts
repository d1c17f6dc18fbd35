/** The door of conversations: who talks with whom, and how far each one has read. */
export { type Activity, loadActivities } from "./activity.ts";
export {
  type CapabilitiesOf,
  getCapabilities,
  type MemberCapabilities,
  type MessagingWindow,
  showWindow,
  windowOf,
} from "./capabilities.ts";
export { addMember, type ConversationChanges, changeConversation, removeMember } from "./change-conversation.ts";
export {
  type Conversation,
  type ConversationRow,
  type ConversationSettings,
  type ConversationType,
  defaultSettings,
  findConversation,
  type GroupInbound,
  getConversation,
  loadConversations,
  readLengths,
  showConversation,
} from "./conversation.ts";
export { type ConversationInput, createConversation } from "./create-conversation.ts";
export { type Direct, type DirectPair, findOrCreateDirects } from "./direct.ts";
export { type DirectCaller, type DirectTo, findDirectsTo, type NewDirect } from "./direct-to.ts";
export { type ConversationSort, type ListedConversation, listConversations } from "./list-conversations.ts";
export { leaveGroups, moveMemberships } from "./memberships.ts";
export { type MarkRead, type ReadRange, readConversation, typeInConversation } from "./reading.ts";
export { continuationOf, takesUnquoted } from "./takes-unquoted.ts";
