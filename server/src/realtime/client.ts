import { type Principal, seesAllConversations } from "../credentials/credentials.ts";
import { type Cursor, toCursor } from "../events/events.ts";
import type { Frame } from "./frames.ts";
import { maxBufferedBytes, type Outlet } from "./outlet.ts";

/**
 * A socket or stream, subscribed to the feed of its workspace.
 *
 *     held ──▶ catching up ──▶ live ──▶ closed
 *                   ▲            │
 *                   └── resume ──┘
 *
 * `held` lasts from HELLO until the client's first frame, for at most `startWithinSeconds`: a client that resumes gets
 * the missed events before new ones.
 */
export class Client {
  readonly outlet: Outlet;
  readonly authorization: string;
  principal: Principal;
  state: "held" | "catching-up" | "live" | "closed" = "held";
  /** Of the last event that was sent to it or that it may not see, while it is not live. */
  at: Cursor = { position: 0, mark: null };
  /** A later resume ends the one under way. */
  resumes = 0;
  feed: { readonly head: Cursor } | null = null;

  constructor({ outlet, authorization, principal }: Pick<Client, "outlet" | "authorization" | "principal">) {
    this.outlet = outlet;
    this.authorization = authorization;
    this.principal = principal;
  }

  cursor(): string {
    return toCursor(this.state === "live" && this.feed !== null ? this.feed.head : this.at);
  }

  send(frame: Frame, onSent?: () => void): void {
    if (this.state === "closed") return;
    if (this.outlet.bufferedBytes() + frame.size > maxBufferedBytes) this.close("slow");
    else this.outlet.write(frame, onSent);
  }

  close(reason: Parameters<Outlet["close"]>[0]): void {
    this.state = "closed";
    this.outlet.close(reason);
  }

  /** Whether a delivery to this participant is delivered in the client's app: agents read for their workspace too. */
  readsAs(recipientId: string): boolean {
    const { kind, userId, workspaceId } = this.principal;
    if (kind !== "user") return false;
    return recipientId === userId || (recipientId === workspaceId && seesAllConversations(this.principal));
  }
}
