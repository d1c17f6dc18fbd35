import type { Channel, Connector } from "./connector.ts";
import { telegram } from "./telegram/telegram.ts";
import { whatsapp } from "./whatsapp/whatsapp.ts";

/** A new channel is one folder, one line here and one in `contract/src/channels.ts`. */
export const connectors: readonly Connector[] = [whatsapp, telegram];

export const channels: readonly Channel[] = connectors.map(({ channel }) => channel);

export function connectorFor(channel: Channel): Connector | undefined {
  return byChannel.get(channel);
}

const byChannel: ReadonlyMap<Channel, Connector> = new Map(
  connectors.map((connector) => [connector.channel, connector]),
);
