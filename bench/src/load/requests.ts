/** What a generator sends: unique messages, in turn to each of the conversations, one or many to a request. */
export interface Traffic {
  url: string;
  /** Servers that connections use by turns, instead of the one above. */
  urls?: readonly string[];
  authorization: string;
  /** Credentials that connections use by turns, instead of the one above. */
  authorizations?: readonly string[];
  conversationIds: readonly string[];
  /** Messages in a request: 1 is sent to `/v1/messages`, more to `/v1/messages/batch`. */
  batchSize: number;
}

/** Characters of a message's text. */
export const textLength = 100;
const digits = 12;
const filler = "of the measurement: as long as what people write to each other on an ordinary day, no longer.";

/** The text of message `number`: unique by its beginning. */
export function textOf(number: number): string {
  return `${String(number).padStart(digits, "0")} ${filler}`.slice(0, textLength).padEnd(textLength, ".");
}

export function numberOf(text: string): number {
  return Number(text.slice(0, digits));
}

export function conversationOf(number: number, conversationIds: readonly string[]): string {
  return conversationIds[number % conversationIds.length]!;
}

export interface Request {
  /** The request with the messages from this number on; it may be overwritten by the next call. */
  fill(first: number): Buffer;
}

export function urlOf({ url, urls = [url] }: Pick<Traffic, "url" | "urls">, connection: number): string {
  return urls[connection % urls.length]!;
}

/** It is written over again and again, so that making one costs next to nothing. */
export function makeRequest(traffic: Traffic, connection = 0): Request {
  const { conversationIds, batchSize, authorizations = [traffic.authorization] } = traffic;
  const authorization = authorizations[connection % authorizations.length];
  const message = JSON.stringify({
    conversation_id: conversationIds[0],
    payload: { type: "text", text: textOf(0) },
  });
  const list = Array.from({ length: batchSize }, () => message).join(",");
  const body = batchSize === 1 ? message : `{"messages":[${list}]}`;
  const head = [
    `POST ${batchSize === 1 ? "/v1/messages" : "/v1/messages/batch"} HTTP/1.1`,
    `host: ${new URL(urlOf(traffic, connection)).host}`,
    `authorization: ${authorization}`,
    "content-type: application/json",
    `content-length: ${body.length}`,
  ];
  const buffer = Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`, "latin1");
  const firstAt = buffer.length - body.length + (batchSize === 1 ? 0 : body.indexOf("[") + 1);
  const conversationAt = message.indexOf(conversationIds[0]!);
  const numberAt = message.indexOf(textOf(0));
  return {
    fill(first) {
      for (let index = 0, at = firstAt; index < batchSize; index += 1, at += message.length + 1) {
        buffer.write(conversationOf(first + index, conversationIds), at + conversationAt, "latin1");
        buffer.write(String(first + index).padStart(digits, "0"), at + numberAt, "latin1");
      }
      return buffer;
    },
  };
}
