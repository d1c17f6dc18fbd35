/** Ids have at most 52 significant bits. Source: Telegram Bot API, type `Chat`, field `id`. */
const maxId = 2 ** 52;

const integer = /^-?[1-9]\d{0,15}$/;

export const identifierRule = "the number of a chat, such as 123456789";

/** A chat id: positive for a person, negative for a group. Bots cannot write to names (`@someone`). */
export function parseIdentifier(identifier: string): string | null {
  const trimmed = identifier.trim();
  return integer.test(trimmed) && Math.abs(Number(trimmed)) <= maxId ? trimmed : null;
}

export function messageKey(chatId: string | number, messageId: string | number): string {
  return `${chatId}:${messageId}`;
}

export function messageIdIn(chatId: string, providerMessageId: string): number | null {
  if (!providerMessageId.startsWith(`${chatId}:`)) return null;
  const digits = providerMessageId.slice(chatId.length + 1);
  return /^[1-9]\d{0,15}$/.test(digits) ? Number(digits) : null;
}
