/** The bus topics on a message's path; `flow.ts` says who reads and writes which. */
export const topics = {
  /** Accepted messages that wait to be routed, keyed by conversation. */
  messageProcessing: "message_processing",
  inbound: "inbound",
  /** Deliveries that wait to be sent, keyed by lane. */
  outgoing: (channel: string) => `${channel}_outgoing`,
} as const;
