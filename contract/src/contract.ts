/** All operations, in the reading order of the document. */
import { contactAddresses, userAddresses } from "./addresses.ts";
import { apiKeys } from "./api-keys.ts";
import { auditLog } from "./audit-log.ts";
import { auth } from "./auth.ts";
import { channelAccounts } from "./channel-accounts.ts";
import { contacts } from "./contacts.ts";
import { conversations } from "./conversations.ts";
import { deadLetters } from "./dead-letters.ts";
import { writeDocument } from "./document.ts";
import { events, webhooks } from "./events.ts";
import { files } from "./files.ts";
import { health } from "./health.ts";
import { invitationAcceptance, invitations } from "./invitations.ts";
import { jwks } from "./jwks.ts";
import { me } from "./me.ts";
import { conversationMessages, messages } from "./messages.ts";
import { oauth } from "./oauth.ts";
import type { Operation } from "./operation.ts";
import { ownPassword, passwords, userPasswords } from "./passwords.ts";
import { platformWebhooks } from "./platform-webhooks.ts";
import { stats } from "./stats.ts";
import { documents, tasks } from "./tasks.ts";
import { totp, userTotp } from "./totp.ts";
import { users } from "./users.ts";
import { webhookEndpoints } from "./webhook-endpoints.ts";
import { workspaces } from "./workspaces.ts";

export const contract: readonly Operation[] = [
  auth,
  oauth,
  passwords,
  invitationAcceptance,
  jwks,
  me,
  ownPassword,
  totp,
  apiKeys,
  messages,
  conversations,
  conversationMessages,
  files,
  documents,
  tasks,
  events,
  contacts,
  contactAddresses,
  users,
  userPasswords,
  userTotp,
  invitations,
  userAddresses,
  workspaces,
  channelAccounts,
  deadLetters,
  webhookEndpoints,
  auditLog,
  stats,
  health,
  platformWebhooks,
].flatMap((group): Operation[] => Object.values(group));

const about =
  "One API to send and receive messages on WhatsApp, Telegram and in your own app. Lists come in pages: continue with `cursor` = `next_cursor` until it is null. A " +
  "page may hold fewer items than `limit`, because it ends at about 1 MiB; it holds at least one when there is one.";

export function openApiText(version: string): string {
  const license = { name: "Apache 2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" };
  const document = writeDocument({ title: "Chat4All", version, description: about, license }, contract, webhooks);
  return `${JSON.stringify(document, null, 2)}\n`;
}
