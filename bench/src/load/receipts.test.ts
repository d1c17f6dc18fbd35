import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { parse } from "../../../server/src/connectors/whatsapp/webhook.ts";
import { defaultWhatsAppAccount as account } from "../../../simulator/src/default-accounts.ts";
import { makeReceiptRequest } from "./receipts.ts";

const deliveryIds = ["01a1fbc6-7eb7-72ee-83d7-2162610fbc1f", "01a1fbc6-7eb7-72ee-83d7-2162610fbc20"];

test("receipts are signed, and each message is delivered before it is read", () => {
  const request = makeReceiptRequest({
    url: "http://127.0.0.1:8080",
    path: "/webhooks/whatsapp/1",
    appSecret: "secret",
    phoneNumberId: account.phone_number_id,
    sent: deliveryIds.map((deliveryId, index) => ({ deliveryId, providerMessageId: `wamid.${index}`, to: "+5511" })),
  });
  const seen = [0, 1, 2, 3, 4].flatMap((number) => {
    const [head, body] = request.fill(number).toString().split("\r\n\r\n");
    const signature = createHmac("sha256", "secret").update(body!).digest("hex");
    assert.ok(head!.includes(`x-hub-signature-256: sha256=${signature}`));
    assert.ok(head!.endsWith(`content-length: ${body!.length}`));
    return [...parse({ rawBody: Buffer.from(body!), headers: {} }, account)];
  });
  assert.deepEqual(
    seen.map((event) => event.kind === "receipt" && [deliveryIds.indexOf(event.deliveryId!), event.status]),
    [
      [0, "delivered"],
      [1, "delivered"],
      [0, "read"],
      [1, "read"],
      [0, "delivered"],
    ],
  );
});
