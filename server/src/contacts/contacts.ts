/** Contacts: people who are reached on channels, and their addresses. */
export { type Address, addressParser, appChannel, formatAddress, type ParseAddress } from "./address.ts";
export {
  findParticipantByAddress,
  type HeldAddress,
  onlyUsers,
  ownersByAddress,
  requireUsersAt,
} from "./address-book.ts";
export { changeContact, deleteContact, mergeContacts } from "./change-contact.ts";
export { type Contact, getContact, listContacts } from "./contact.ts";
export {
  createContact,
  findOrCreateContacts,
  maxPeople,
  type ReachedPerson,
} from "./create-contact.ts";
export { type AddressHolder, addAddress, type HolderView, readAddresses, removeAddress } from "./own-addresses.ts";
export {
  describeParticipants,
  lockPeopleShared,
  type Participant,
  resolveParticipants,
  showParticipant,
} from "./participants.ts";
export { requireName } from "./text.ts";
export { deleteOldVerifications, startVerification, verifyAddress } from "./verify-address.ts";
