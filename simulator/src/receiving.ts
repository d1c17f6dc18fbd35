import type { ReceivedMessage, StoredMessage } from "./messages.ts";
import type { World } from "./world.ts";

/**
 * Keeps what a platform got, in the journal before in memory, so before the caller is answered.
 * `key` is unique in the channel; `promise` says in JSON which `webhooks` receipts follow (`OpenFace.promised` reads it).
 */
export function receive(
  world: World,
  message: ReceivedMessage,
  key: string,
  promise: { webhooks: number; value: unknown },
): { stored: StoredMessage; firstNumber: number } {
  const stored: StoredMessage = {
    index: world.messages.nextIndex,
    channel: message.channel,
    account: message.account,
    to: message.to,
    key,
    json: JSON.stringify(message),
  };
  const firstNumber = world.webhooks.reserve(promise.webhooks);
  world.journal.message(stored, firstNumber, promise.value);
  world.messages.add(stored);
  return { stored, firstNumber };
}
