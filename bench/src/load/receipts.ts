import { createHmac } from "node:crypto";
import type { Request } from "./requests.ts";

/** A message at the platform, of which receipts are sent. */
export interface SentMessage {
  providerMessageId: string;
  deliveryId: string;
  /** Without the channel, as the platform writes it. */
  to: string;
}

/** Signed WhatsApp webhooks with one receipt each: `delivered` for each message, then `read`, then both again. */
export interface ReceiptTraffic {
  url: string;
  /** Of the channel account's webhook. */
  path: string;
  appSecret: string;
  phoneNumberId: string;
  sent: readonly SentMessage[];
}

export function makeReceiptRequest({ url, path, appSecret, phoneNumberId, sent }: ReceiptTraffic): Request {
  const { host } = new URL(url);
  return {
    fill(number) {
      const index = number % (2 * sent.length);
      const { providerMessageId, deliveryId, to } = sent[index % sent.length]!;
      const receipt = {
        id: providerMessageId,
        status: index < sent.length ? "delivered" : "read",
        timestamp: String(Math.floor(Date.now() / 1_000)),
        recipient_id: to.replace(/^\+/, ""),
        biz_opaque_callback_data: deliveryId,
      };
      const value = {
        messaging_product: "whatsapp",
        metadata: { display_phone_number: "15550000001", phone_number_id: phoneNumberId },
        statuses: [receipt],
      };
      const body = JSON.stringify({
        object: "whatsapp_business_account",
        entry: [{ id: "419000000000001", changes: [{ field: "messages", value }] }],
      });
      const head = [
        `POST ${path} HTTP/1.1`,
        `host: ${host}`,
        "content-type: application/json",
        `x-hub-signature-256: sha256=${createHmac("sha256", appSecret).update(body).digest("hex")}`,
        `content-length: ${body.length}`,
      ];
      return Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`, "latin1");
    },
  };
}
