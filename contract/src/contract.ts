/** All operations, in the reading order of the document. */
import { contactAddresses, userAddresses } from "./addresses.ts";
import { apiKeys } from "./api-keys.ts";
import { auditLog } from "./audit-log.ts";
import { channelAccounts } from "./channel-accounts.ts";
import { contacts } from "./contacts.ts";
import { conversations } from "./conversations.ts";
import { health } from "./health.ts";
import { me } from "./me.ts";
import type { Operation } from "./operation.ts";
import { platformWebhooks } from "./platform-webhooks.ts";
import { users } from "./users.ts";
import { workspaces } from "./workspaces.ts";

export const contract: readonly Operation[] = [
  me,
  apiKeys,
  conversations,
  contacts,
  contactAddresses,
  users,
  userAddresses,
  workspaces,
  channelAccounts,
  auditLog,
  health,
  platformWebhooks,
].flatMap((group): Operation[] => Object.values(group));
