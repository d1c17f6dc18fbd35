import { liveEvents } from "../../../contract/src/events.ts";
import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";
import { frameOf } from "./frames.ts";
import type { Rooms } from "./rooms.ts";

export interface Typing {
  workspaceId: string;
  conversationId: string;
  /** Who types. */
  participantId: string;
}

/** Tells whoever reads the conversation, in any process; it is not in the feed. */
export type TellTyping = (typing: Typing) => void;

const channel = "typing";
/** The same person in the same conversation is told of once in this time, in milliseconds. */
const quietMs = 1_000;
/** People who typed just now and are remembered, at the most. */
const maxRemembered = 10_000;

/** In any process that hears of somebody who types. */
export function openTypingTeller({ fanout, clock }: { fanout: Fanout; clock: Clock }): TellTyping {
  const toldAt = new Map<string, number>();
  return (typing) => {
    const key = `${typing.conversationId}/${typing.participantId}`;
    const now = clock.elapsed();
    if (now - (toldAt.get(key) ?? Number.NEGATIVE_INFINITY) < quietMs) return;
    if (toldAt.size >= maxRemembered) toldAt.clear();
    toldAt.set(key, now);
    fanout.publish(channel, JSON.stringify(typing));
  };
}

/** In a process with readers. Returns how to stop. */
export function passTypingOn({ fanout, rooms }: { fanout: Fanout; rooms: Rooms }): () => void {
  return fanout.subscribe(channel, (message) => {
    const { workspaceId, conversationId, participantId } = JSON.parse(message) as Typing;
    const room = rooms.peek(workspaceId);
    if (room === undefined) return;
    void room.membersOf([conversationId]).then(
      (membersOf) => {
        const fields = { event: liveEvents.TYPING, conversation_id: conversationId, user_id: participantId };
        const frame = frameOf("TYPING", room.cursor(), fields);
        const audience = { isForOverseers: true, participantIds: membersOf(conversationId) };
        room.tell(audience, frame, ({ principal }) => principal.participantId === participantId);
      },
      // The database is away: nobody misses a moment's typing.
      () => {},
    );
  });
}
