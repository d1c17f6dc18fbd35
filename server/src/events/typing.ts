import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";

interface Typing {
  workspaceId: string;
  conversationId: string;
  participantId: string;
}

/** Notifies all processes of typing, which is not in the feed and not stored. */
export interface TypingNotifier {
  notify(typing: Typing): void;
  subscribe(listener: (typing: Typing) => void): () => void;
}

const channel = "typing";
/** One notification for the same person in the same conversation in this time, in milliseconds. */
const quietMs = 1_000;
const maxRemembered = 10_000;

export function openTypingNotifier({ fanout, clock }: { fanout: Fanout; clock: Clock }): TypingNotifier {
  const notifiedAt = new Map<string, number>();
  return {
    notify(typing) {
      const key = `${typing.conversationId}/${typing.participantId}`;
      const now = clock.elapsed();
      if (now - (notifiedAt.get(key) ?? Number.NEGATIVE_INFINITY) < quietMs) return;
      if (notifiedAt.size >= maxRemembered) notifiedAt.clear();
      notifiedAt.set(key, now);
      fanout.publish(channel, JSON.stringify(typing));
    },
    subscribe: (listener) => fanout.subscribe(channel, (message) => listener(JSON.parse(message) as Typing)),
  };
}
