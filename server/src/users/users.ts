/** Who exists: workspaces, their users, and the invitations by which people become users. */
export { findFirstWorkspace } from "./first-workspace.ts";
export {
  acceptInvitation,
  deleteOldInvitations,
  type Invitation,
  type InvitationDeps,
  invite,
  listInvitations,
  revokeInvitation,
} from "./invitations.ts";
export {
  addUser,
  createUser,
  deleteUser,
  getUser,
  type UserDeps,
  type UserWithPassword,
  updateUser,
} from "./manage-users.ts";
export { readLlmSettings, sealedLlmKeys, updateMe } from "./me.ts";
export type { PasswordHashing, Requester } from "./password-hashing.ts";
export { listUsers, type User } from "./user-rows.ts";
export { isUsername } from "./username.ts";
export { addWorkspace, createWorkspace, listWorkspaces, requireFirstWorkspace, type Workspace } from "./workspaces.ts";
