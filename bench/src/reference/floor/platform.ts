import { Pool } from "undici";
import { messageRequest } from "../../../../server/src/connectors/whatsapp/request.ts";
import { defaultWhatsAppAccount as account } from "../../../../simulator/src/default-accounts.ts";

export interface Exchange {
  providerMessageId: string;
  /** Request and response without credentials and text, for the record of the attempt. */
  record: object;
}

const connections = 128;

/** Sends texts to the simulated platform, with the least that an HTTP client can spend on it. */
export function openPlatform(simulatorUrl: string) {
  const pool = new Pool(simulatorUrl, { connections, pipelining: 1 });
  const path = `/whatsapp/v23.0/${account.phone_number_id}/messages`;
  const headers = ["content-type", "application/json", "authorization", `Bearer ${account.access_token}`];

  function post(body: string): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      let status = 0;
      let text = "";
      pool.dispatch(
        { method: "POST", path, headers, body },
        {
          onRequestStart() {},
          onResponseStart(_controller, statusCode) {
            status = statusCode;
          },
          onResponseData(_controller, chunk) {
            text += chunk.toString("latin1");
          },
          onResponseEnd: () => resolve({ status, body: text }),
          onResponseError: (_controller, error) => reject(error),
        },
      );
    });
  }

  return {
    async send(deliveryId: string, identifier: string, payload: { type: "text"; text: string }): Promise<Exchange> {
      const request = messageRequest({
        deliveryId,
        partIndex: 0,
        identifier,
        payload,
        quotedProviderMessageId: null,
        targetProviderMessageId: null,
      })!;
      const answer = await post(request.body);
      if (answer.status !== 200) throw new Error(`The platform returned ${answer.status}: ${answer.body}`);
      const body = JSON.parse(answer.body) as { messages: [{ id: string }] };
      const record = { request: { method: "POST", url: path, body: request.redacted }, answer: { status: 200, body } };
      return { providerMessageId: body.messages[0].id, record };
    },
  };
}

export type Platform = ReturnType<typeof openPlatform>;
