import type { Bus } from "../bus/bus.ts";
import type { Db } from "../lib/query.ts";
import { topics } from "../topics.ts";

/** What waits on a channel's topic: a delivery to send, put there by the router, or one to look at again. */
export interface OutgoingRecord {
  deliveryId: string;
  accountId: string;
  ordinal: number;
  /** Its state changed by other means: look at it again now. */
  isChanged?: boolean;
}

/** A delivery and its lane, as rows name them. */
export interface LanePlace {
  delivery_id: string;
  lane_id: string;
  channel: string;
  channel_account_id: string;
  ordinal: number;
}

/** Puts deliveries on their channels' topics, in the caller's transaction; `wakeOutgoing` once it is committed. */
export async function publishOutgoing(
  bus: Bus,
  tx: Db,
  places: readonly LanePlace[],
  more: Pick<OutgoingRecord, "isChanged"> = {},
): Promise<void> {
  for (const [channel, rows] of Map.groupBy(places, (place) => place.channel)) {
    const records = rows.map(({ delivery_id, lane_id, channel_account_id, ordinal }) => {
      const value: OutgoingRecord = { deliveryId: delivery_id, accountId: channel_account_id, ordinal, ...more };
      return { key: lane_id, value };
    });
    await bus.publish(tx, topics.outgoing(channel), records);
  }
}

export function wakeOutgoing(bus: Bus, places: readonly Pick<LanePlace, "channel">[]): void {
  for (const channel of new Set(places.map((place) => place.channel))) bus.wake(topics.outgoing(channel));
}

/** Has lanes look at deliveries again at once, whose state changed behind their owners' back. */
export async function rouseLanes(bus: Bus, db: Db, places: readonly LanePlace[]): Promise<void> {
  await publishOutgoing(bus, db, places, { isChanged: true });
  wakeOutgoing(bus, places);
}
