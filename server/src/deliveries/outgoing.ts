import type { Bus } from "../bus/bus.ts";
import type { ChannelAccountId } from "../lib/ids.ts";
import type { Db } from "../lib/query.ts";
import { topics } from "../topics.ts";

/** A record of a channel's topic: a delivery to send, or to check again. */
export interface OutgoingRecord {
  deliveryId: string;
  accountId: ChannelAccountId;
  ordinal: number;
  isChanged?: boolean;
}

/** A delivery and its place in its lane. */
export interface LanePlace {
  deliveryId: string;
  laneId: string;
  channel: string;
  channelAccountId: ChannelAccountId;
  ordinal: number;
}

/** Publishes deliveries, in the caller's transaction; call `wakeOutgoing` after the commit. */
export async function publishOutgoing(bus: Bus, tx: Db, places: readonly LanePlace[], isChanged?: true): Promise<void> {
  for (const [channel, rows] of Map.groupBy(places, (place) => place.channel)) {
    const records = rows.map(({ laneId, deliveryId, channelAccountId: accountId, ordinal }) => {
      return { key: laneId, value: { deliveryId, accountId, ordinal, isChanged } satisfies OutgoingRecord };
    });
    await bus.publish(tx, topics.outgoing(channel), records);
  }
}

export function wakeOutgoing(bus: Bus, places: readonly Pick<LanePlace, "channel">[]): void {
  for (const channel of new Set(places.map((place) => place.channel))) bus.wake(topics.outgoing(channel));
}

/** Makes lanes check deliveries again whose state was changed elsewhere. */
export async function wakeLanes(bus: Bus, db: Db, places: readonly LanePlace[]): Promise<void> {
  await publishOutgoing(bus, db, places, true);
  wakeOutgoing(bus, places);
}
