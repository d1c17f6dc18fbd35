/** Workspaces, their users, and the invitations by which people become users. */

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
  isUsername,
  type PasswordHashing,
  type Requester,
  type UserDeps,
  type UserWithPassword,
  updateUser,
} from "./manage-users.ts";
export { findLlmSettings, sealedLlmKeys, updateMe } from "./me.ts";
export { listUsers, type User } from "./user-rows.ts";
export {
  addWorkspace,
  createWorkspace,
  findFirstWorkspace,
  listWorkspaces,
  requireFirstWorkspace,
  type Workspace,
} from "./workspaces.ts";
