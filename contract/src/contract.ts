/** All operations, in the reading order of the document. */
import { contactAddresses, userAddresses } from "./addresses.ts";
import { contacts } from "./contacts.ts";
import { conversations } from "./conversations.ts";
import type { Operation } from "./operation.ts";

export const contract: readonly Operation[] = [conversations, contacts, contactAddresses, userAddresses].flatMap(
  (group): Operation[] => Object.values(group),
);
