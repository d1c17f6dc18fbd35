import { liveEvents } from "../../../contract/src/events.ts";
import type { TypingNotifier } from "../events/events.ts";
import { frameOf } from "./frames.ts";
import type { Rooms } from "./rooms.ts";

/** Publishes typing to the clients of this process that see the conversation. Returns a function that stops it. */
export function publishTyping(deps: { typingNotifier: TypingNotifier; rooms: Rooms }): () => void {
  return deps.typingNotifier.subscribe(({ workspaceId, conversationId, participantId }) => {
    const room = deps.rooms.peek(workspaceId);
    if (room === undefined) return;
    void room.membersOf([conversationId]).then(
      (membersOf) => {
        const fields = { event: liveEvents.TYPING, conversation_id: conversationId, user_id: participantId };
        const frame = frameOf("TYPING", room.cursor(), fields);
        const audience = { isForOverseers: true, participantIds: membersOf(conversationId) };
        room.tell(audience, frame, ({ principal }) => principal.participantId === participantId);
      },
      // The database does not answer: typing is out of date before it does.
      () => {},
    );
  });
}
