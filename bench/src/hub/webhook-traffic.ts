import { defaultWhatsAppAccount as account } from "../../../simulator/src/default-accounts.ts";
import type { ReceiptTraffic, SentMessage } from "../load/receipts.ts";
import { call } from "./setup.ts";
import type { Stage } from "./stage.ts";

/** Receipts of these messages, from the platform to the hub. */
export async function receiptTraffic(
  { hub, authorization }: Stage,
  sent: readonly SentMessage[],
): Promise<ReceiptTraffic> {
  const { data } = await call<{ data: { channel: string; webhook_url: string }[] }>(
    hub.url,
    "/v1/channel-accounts",
    authorization,
  );
  const { webhook_url } = data.find(({ channel }) => channel === account.channel)!;
  return {
    url: hub.url,
    path: new URL(webhook_url).pathname,
    appSecret: account.app_secret,
    phoneNumberId: account.phone_number_id,
    sent: sent.map(({ providerMessageId, deliveryId, to }) => ({ providerMessageId, deliveryId, to })),
  };
}
