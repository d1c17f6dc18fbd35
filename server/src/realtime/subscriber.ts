import { type Principal, seesAllConversations } from "../credentials/credentials.ts";
import type { Closing } from "./closing.ts";
import type { Frame } from "./frames.ts";

/** The way out to one reader: a socket, or a stream over HTTP. Its methods never throw, also once it is closed. */
export interface Outlet {
  /** `onTaken` is called once the bytes have left this process, and never when they could not. */
  write(frame: Frame, onTaken?: () => void): void;
  /** What is written until `uncork` leaves together: many frames for the price of one. */
  cork(): void;
  uncork(): void;
  /** Written and not yet taken, in bytes; 0 may stand for a little. */
  bufferedBytes(): number;
  /** Resolves when little is buffered any more, or the reader is gone. */
  drained(): Promise<void>;
  close(closing: Closing): void;
}

/**
 * One reader of a workspace's feed.
 *
 *     held ──▶ catching up ──▶ live ──▶ closed
 *                   ▲            │
 *                   └── resume ──┘
 *
 * `held` lasts from HELLO until the client's first frame, for at most `startWithinSeconds`: a client that resumes gets
 * the missed events before new ones. A live reader is at the position of its room, others are at `position`.
 */
export interface Subscriber {
  readonly outlet: Outlet;
  /** The value of an `authorization` header: asked about again now and then. */
  readonly authorization: string;
  principal: Principal;
  state: "held" | "catching-up" | "live" | "closed";
  /** Of the last event that it was considered for; has no meaning while it is live. */
  position: number;
  /** The same position as a cursor for clients. */
  cursor: string;
  /** Counts resumes: a catching-up that a later one replaced stops. */
  round: number;
}

/** The reader's position as a cursor for clients. */
export function cursorOf({ subscriber, room }: { subscriber: Subscriber; room: { cursor(): string } }): string {
  return subscriber.state === "live" ? room.cursor() : subscriber.cursor;
}

/** More than this unread, in bytes, and a reader is dropped. */
export const maxBufferedBytes = 1024 * 1024;
/** Below this, in bytes, a reader is fast enough to be sent more of the past. */
export const lowWaterBytes = 128 * 1024;

/** Sends to a reader, or drops one that does not read. */
export function send(subscriber: Subscriber, frame: Frame, onTaken?: () => void): void {
  if (subscriber.state === "closed") return;
  if (subscriber.outlet.bufferedBytes() + frame.size > maxBufferedBytes) {
    subscriber.state = "closed";
    subscriber.outlet.close("slow");
    return;
  }
  subscriber.outlet.write(frame, onTaken);
}

/** The participants as whom a person reads in the app: itself, and for those who answer for the workspace, that too. */
export function readsFor(principal: Principal, recipientId: string): boolean {
  if (principal.kind !== "user") return false;
  if (recipientId === principal.userId) return true;
  return recipientId === principal.workspaceId && seesAllConversations(principal);
}
