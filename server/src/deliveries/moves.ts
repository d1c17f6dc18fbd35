import type { Connector } from "../connectors/connector.ts";
import type { Place } from "../lib/progress-watch.ts";
import type { Lane } from "./lanes.ts";

/** Whether the attempts of each channel account get on: every step of one is a move. */
export interface Moves {
  moved(channelAccountId: string): void;
  /** The same connector, whose every part is a move when it begins and when it ends: a long text has many. */
  counting(connector: Connector): Connector;
  /**
   * The accounts with lanes that have something to do now. A lane that waits for a time or a receipt has not, nor has one
   * whose account's gate is shut.
   */
  places(lanes: Iterable<Lane>, isShut: (channelAccountId: string) => boolean): Place[];
}

export function openMoves(): Moves {
  const moves = new Map<string, number>();
  const moved = (channelAccountId: string) => void moves.set(channelAccountId, (moves.get(channelAccountId) ?? 0) + 1);
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
      const waiting = new Map<string, number>();
      for (const { state, channelAccountId } of lanes) {
        if (state === "parked" || (state === "ready" && isShut(channelAccountId))) continue;
        waiting.set(channelAccountId, (waiting.get(channelAccountId) ?? 0) + 1);
      }
      return [...waiting].map(([key, lanes]) => ({ key, mark: moves.get(key) ?? 0, waiting: lanes }));
    },
  };
}
