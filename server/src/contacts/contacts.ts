/** The door of contacts: who is reached on channels, and by which addresses. */
export {
  type Address,
  type AddressedChannel,
  addressParser,
  appChannel,
  formatAddress,
  type ParseAddress,
} from "./address.ts";
export { findParticipantByAddress, type HeldAddress, lockAddresses, ownersByAddress } from "./address-book.ts";
export { type ContactChanges, changeContact, deleteContact, type MergeDeps, mergeContacts } from "./change-contact.ts";
export { type Contact, getContact, listContacts } from "./contact.ts";
export {
  type ContactInput,
  createContact,
  findOrCreateContactByAddress,
  findOrCreateContacts,
  maxPeople,
  type ReachedPerson,
} from "./create-contact.ts";
export { onlyUsers, requireUsersAt } from "./only-users.ts";
export { type AddressHolder, addAddress, type HolderView, readAddresses, removeAddress } from "./own-addresses.ts";
export {
  describeParticipants,
  lockPeopleShared,
  type Participant,
  resolveParticipants,
  showParticipant,
} from "./participants.ts";
export { requireName } from "./text.ts";
export {
  deleteOldVerifications,
  startVerification,
  type Verification,
  verifyAddress,
} from "./verify-address.ts";
