/** The door of conversations: who talks with whom, and how far each one has read. */
export {
  type Conversation,
  type ConversationRow,
  type ConversationSettings,
  type ConversationType,
  defaultSettings,
  findConversation,
  getConversation,
  listConversations,
} from "./conversation.ts";
export { type ConversationInput, createConversation, memberBounds } from "./create-conversation.ts";
export { type DirectPair, findOrCreateDirect } from "./direct.ts";
export type { MemberInput } from "./resolve-members.ts";
