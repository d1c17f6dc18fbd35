import type { NewMessage as SendBody } from "../../../contract/src/messages.ts";
import { metadataLimits } from "../../../contract/src/people.ts";
import { type Address, formatAddress, type ParseAddress } from "../contacts/contacts.ts";
import { type Principal, reachesContacts, seesAllConversations } from "../credentials/credentials.ts";
import { forbidden, invalid, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { type ConversationId, isTooFarAhead, isUuidV7, type MessageId, msOf, newId } from "../lib/ids.ts";
import { canonicalJson, isStorable, maxDepth } from "../lib/json.ts";
import type { AcceptedBefore, NewMessage } from "./write-messages.ts";

export interface PrepareDeps {
  clock: Clock;
  isChannel: (name: string) => boolean;
  parseAddress: ParseAddress;
  /** In order. Creates missing contacts and conversations, unless the message would be refused. */
  findDirects: (
    caller: { workspaceId: string; mayReachContacts: boolean },
    asked: readonly DirectMessage[],
  ) => Promise<(ConversationId | RequestError)[]>;
  isAccount: (workspaceId: string, channel: string, channelAccountId: string) => Promise<boolean>;
  /** Of these files, why each that cannot be sent by the caller is refused. */
  findRefusedFiles: (caller: Principal, fileIds: readonly string[]) => Promise<Map<string, RequestError>>;
  findAccepted: (workspaceId: string, messageIds: readonly string[]) => Promise<Map<string, AcceptedBefore>>;
}

export interface DirectMessage {
  senderId: string;
  address: Address;
  mayUseWorkspace: boolean;
  message: NewMessage;
}

export interface Draft {
  message: NewMessage;
  address: Address | null;
  via: Record<string, string>;
  fileId: string | null;
}

/** Checks what the schema cannot, and decides who sends. Throws VALIDATION_ERROR, FORBIDDEN or RESOURCE_NOT_FOUND. */
export function draftMessage(deps: PrepareDeps, principal: Principal, body: SendBody): Draft {
  const senderId = checkSend(deps, principal, body);
  const { to, via = {} } = body;
  const address = to === undefined ? null : deps.parseAddress(to, "to");
  const fileId = body.payload.type === "file" ? body.payload.file_id : null;
  return { address, via, fileId, message: compose(deps, principal, body, { senderId, address }) };
}

/** In order. Look-ups are made for all drafts together, one at a time. */
export async function resolveDrafts(
  deps: PrepareDeps,
  principal: Principal,
  drafts: readonly Draft[],
): Promise<(NewMessage | RequestError)[]> {
  const { workspaceId } = principal;
  const wrong = await findWrongAccounts(deps, workspaceId, drafts);
  await addRefusedFiles(deps, principal, drafts, wrong);
  const direct = drafts.filter((draft) => draft.address !== null && !wrong.has(draft));
  const asked = direct.map(({ message, address }): DirectMessage => {
    const { senderId } = message;
    return { senderId, address: address!, message, mayUseWorkspace: writesAnywhere(principal, senderId) };
  });
  const caller = { workspaceId, mayReachContacts: reachesContacts(principal) };
  const found = asked.length === 0 ? [] : await deps.findDirects(caller, asked);
  const conversationOf = new Map(direct.map((draft, index) => [draft, found[index]!]));
  const outcomes = drafts.map((draft) => wrong.get(draft) ?? conversationOf.get(draft) ?? draft.message.conversationId);
  const refused = drafts.filter((_draft, index) => outcomes[index] instanceof RequestError);
  const before = refused.length === 0 ? null : await deps.findAccepted(workspaceId, refused.map(idOf));
  return drafts.map((draft, index) => {
    const outcome = (before && conversationBefore(draft, before.get(idOf(draft)))) ?? outcomes[index]!;
    return typeof outcome === "string" ? { ...draft.message, conversationId: outcome } : outcome;
  });
}

const idOf = ({ message }: Draft) => message.messageId;

/** A message that was accepted before gets the same response again, even when its address or account is gone. */
function conversationBefore({ message }: Draft, before: AcceptedBefore | undefined): ConversationId | null {
  if (before === undefined) return null;
  const { to, conversationId } = message;
  const isThere = to === null ? before.conversationId === conversationId : before.to === to;
  return isThere ? before.conversationId : null;
}

async function findWrongAccounts(
  { isAccount }: PrepareDeps,
  workspaceId: string,
  drafts: readonly Draft[],
): Promise<Map<Draft, RequestError>> {
  const known = new Map<string, boolean>();
  const wrong = new Map<Draft, RequestError>();
  for (const draft of drafts) {
    for (const [name, account] of Object.entries(draft.via)) {
      const key = `${name} ${account}`;
      if (!known.has(key)) known.set(key, await isAccount(workspaceId, name, account));
      if (known.get(key)) continue;
      const message = `via.${name} is not an active ${name} account of this workspace.`;
      wrong.set(draft, invalid(message, { field: `via.${name}` }));
      break;
    }
  }
  return wrong;
}

async function addRefusedFiles(
  { findRefusedFiles }: PrepareDeps,
  principal: Principal,
  drafts: readonly Draft[],
  wrong: Map<Draft, RequestError>,
): Promise<void> {
  const fileIds = [...new Set(drafts.flatMap(({ fileId }) => fileId ?? []))];
  if (fileIds.length === 0) return;
  const refused = await findRefusedFiles(principal, fileIds);
  for (const draft of drafts) {
    const error = draft.fileId === null ? undefined : refused.get(draft.fileId);
    if (error !== undefined && !wrong.has(draft)) wrong.set(draft, error);
  }
}

/** Synchronous, unless an address, an account or a file must be looked up. */
export function prepareMessage(
  deps: PrepareDeps,
  principal: Principal,
  body: SendBody,
): NewMessage | Promise<NewMessage> {
  const draft = draftMessage(deps, principal, body);
  if (draft.address === null && body.via === undefined && draft.fileId === null) return draft.message;
  return resolveDrafts(deps, principal, [draft]).then(([message]) => {
    if (message instanceof RequestError) throw message;
    return message!;
  });
}

const none: readonly string[] = [];

export function checkSend(
  { isChannel, clock }: Pick<PrepareDeps, "isChannel" | "clock">,
  principal: Principal,
  body: SendBody,
): string {
  const { message_id, conversation_id, to, channels = none, via, fallback } = body;
  if ((conversation_id === undefined) === (to === undefined)) {
    throw invalid("Give either conversation_id or to.", { field: "conversation_id" });
  }
  if (message_id !== undefined && isUuidV7(message_id) && isTooFarAhead(msOf(message_id), clock.now())) {
    const time = new Date(msOf(message_id)).toISOString();
    const message = `The time of this message_id, ${time}, is more than 7 days in the future. Check the clock of the program that makes it.`;
    throw invalid(message, { field: "message_id" });
  }
  const requireChannels = (field: string, names: readonly string[]) => {
    const unknown = names.find((name) => !isChannel(name));
    if (unknown !== undefined) throw invalid(`${field} names the unknown channel ${unknown}.`, { field });
  };
  if (channels.length > 0)
    requireChannels(
      "channels",
      channels.filter((name) => name !== "all"),
    );
  if (via !== undefined) requireChannels("via", Object.keys(via));
  if (fallback !== undefined) requireChannels("fallback.order", fallback.order);
  if (channels.includes("all") && channels.length > 1) {
    throw invalid('channels is either ["all"] or a list of channels.', { field: "channels" });
  }
  if (fallback !== undefined && channels.length > 0) {
    throw invalid("Give either channels or fallback: its order says which channels are tried.", { field: "fallback" });
  }
  if (body.via !== undefined && !reachesContacts(principal)) {
    throw forbidden("Choosing the channel account with via requires the role `agent`. Leave via out.", {
      field: "via",
    });
  }
  return chooseSender(principal, body);
}

function chooseSender(principal: Principal, { from }: SendBody): string {
  if (from === undefined || from === principal.participantId) return principal.participantId;
  if (!seesAllConversations(principal)) throw forbidden("Only agents, admins and API keys may send as another member.");
  return from;
}

/** Whether the sender is the caller or its workspace, and the caller sees all conversations. */
function writesAnywhere(principal: Principal, senderId: string): boolean {
  const isOurOwn = senderId === principal.participantId || senderId === principal.workspaceId;
  return isOurOwn && seesAllConversations(principal);
}

export function channelsOf({ channels }: SendBody): string | null {
  return channels === undefined ? null : channels[0] === "all" ? "*" : channels.join(",");
}

function compose(
  deps: PrepareDeps,
  principal: Principal,
  body: SendBody,
  { senderId, address }: { senderId: string; address: Address | null },
): NewMessage {
  const payload = storable(body.payload, "payload");
  const metadata = body.metadata === undefined ? null : storable(body.metadata, "metadata");
  if (metadata !== null && Buffer.byteLength(metadata) > metadataLimits.maxBytes) {
    throw invalid(`metadata is longer than ${metadataLimits.maxBytes} bytes of JSON.`, { field: "metadata" });
  }
  const channels = channelsOf(body);
  const options = body.via || body.fallback ? canonicalJson({ via: body.via, fallback: body.fallback }) : null;
  return {
    workspaceId: principal.workspaceId,
    messageId: (body.message_id as MessageId | undefined) ?? newId(deps.clock.now()),
    conversationId: (body.conversation_id ?? "") as ConversationId,
    senderId,
    mustBeMember: !writesAnywhere(principal, senderId),
    direction: "outbound",
    payload,
    channels,
    options,
    to: address === null ? null : formatAddress(address),
    replyTo: (body.reply_to ?? null) as MessageId | null,
    reactsTo: body.payload.type === "reaction" ? (body.payload.message_id as MessageId) : null,
    hasFile: body.payload.type === "file",
    metadata,
    origin: null,
  };
}

/** Canonical JSON that the database can hold: PostgreSQL stores neither U+0000 nor half of a surrogate pair. */
export function storable(value: unknown, field: string): string {
  const json = canonicalJson(value);
  if (json === null) throw invalid(`${field} is nested deeper than ${maxDepth} levels.`, { field });
  if (!isStorable(json)) throw invalid(`${field} contains U+0000 or half of a surrogate pair.`, { field });
  return json;
}
