import type { Connector } from "../../connectors/connector.ts";
import type { ChannelAccountId } from "../../lib/ids.ts";
import type { Place } from "../../lib/progress-watch.ts";
import type { Lane } from "./lanes.ts";

/** Counts the steps of attempts for each channel account, as progress. */
interface Moves {
  moved(channelAccountId: ChannelAccountId): void;
  /** Counts a step when a part of a text starts and ends. */
  counting(connector: Connector): Connector;
  /**
   * Accounts with lanes that can send now: not those that wait for a time or a receipt, nor those whose gate is shut.
   */
  places(lanes: Iterable<Lane>, isShut: (channelAccountId: ChannelAccountId) => boolean): Place[];
}

export function openMoves(): Moves {
  const moves = new Map<ChannelAccountId, number>();
  const moved = (channelAccountId: ChannelAccountId) =>
    void moves.set(channelAccountId, (moves.get(channelAccountId) ?? 0) + 1);
  return {
    moved,
    counting: (connector) => ({
      ...connector,
      async send(part, account, io) {
        moved(account.channelAccountId);
        return await connector.send(part, account, io).finally(() => moved(account.channelAccountId));
      },
    }),
    places(lanes, isShut) {
      const waiting = new Map<ChannelAccountId, number>();
      for (const { state, channelAccountId } of lanes) {
        if (state === "parked" || (state === "ready" && isShut(channelAccountId))) continue;
        waiting.set(channelAccountId, (waiting.get(channelAccountId) ?? 0) + 1);
      }
      return [...waiting].map(([key, lanes]) => ({ key, mark: moves.get(key) ?? 0, waiting: lanes }));
    },
  };
}
