/** The door of realtime: sockets and streams that are told what happens, as it happens. */

import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { type Authenticator, requireScope } from "../credentials/credentials.ts";
import type { PipelineDb, RequestDb } from "../database-roles.ts";
import { openTaker } from "../deliveries/mark-taken.ts";
import { withoutRealtime } from "../errors.ts";
import type { EventNotifier, TypingNotifier } from "../events/events.ts";
import { doorLimits, refuseHeaders, refuseQuery } from "../http/limits.ts";
import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";
import type { Log } from "../lib/postgres.ts";
import type { RateLimits } from "../lib/rate-limits/rate-limits.ts";
import type { Signals } from "../signals/signals.ts";
import { countFrame } from "./frame-limits.ts";
import type { OriginRules } from "./handshake.ts";
import { openPresence } from "./presence.ts";
import { openReaders, type Reader } from "./readers.ts";
import { openRooms } from "./rooms.ts";
import type { ShareLimits } from "./shares.ts";
import { type OutwardFrame, openSockets, refuse, refuseUnknown, type SocketsDeps } from "./sockets.ts";
import { openStreams } from "./streams.ts";
import { publishTyping } from "./typing.ts";

export interface RealtimeDeps {
  /** Sees all workspaces: who may see what is decided here. */
  pipelineDb: PipelineDb;
  dbOf: (workspaceId: string) => RequestDb;
  eventNotifier: EventNotifier;
  fanout: Fanout;
  clock: Clock;
  log: Log;
  authenticate: Authenticator["authenticate"];
  recheck: Authenticator["recheck"];
  typingNotifier: TypingNotifier;
  signals: Pick<Signals, "read" | "sendReadMarks" | "mayType" | "showTyping">;
  origins: OriginRules;
  /** Sockets and streams that this process serves, at the most. */
  maxReaders: number;
  limits: ShareLimits;
  rateLimits: RateLimits;
  clientAddress: SocketsDeps["clientAddress"];
}

/** The channel by which processes tell each other of sessions, users and keys that changed. */
export const identityChannel = "identity";

export type Realtime = ReturnType<typeof openRealtime>;

export function openRealtime(deps: RealtimeDeps) {
  const { pipelineDb: db, eventNotifier, typingNotifier, fanout, clock, log } = deps;
  const taker = openTaker({ db, eventNotifier, clock, log });
  const rooms = openRooms({ db, eventNotifier, clock, log, onTaken: taker.taken });
  const presence = openPresence({ db, fanout, rooms, clock, log });
  const { authenticate, recheck, maxReaders, limits, origins, clientAddress } = deps;
  const readers = openReaders({ rooms, authenticate, recheck, clock, log, maxReaders, limits, presence });
  const onFrame = (reader: Reader, frame: OutwardFrame) => act(deps, reader, frame);
  const sockets = openSockets({ readers, clock, log, origins, clientAddress, onFrame });
  const stopTyping = publishTyping({ typingNotifier, rooms });
  const stopIdentity = fanout.subscribe(identityChannel, (id) => void readers.changed(id).catch(warn));
  const stopReconnect = fanout.onReconnect(() => void readers.recheckAll().catch(warn));

  function warn(error: unknown): void {
    log.warn({ err: error }, "readers could not be asked about again yet");
  }

  return {
    /** Serves `/ws` on a server that listens, or will. */
    attach(server: Server): void {
      onUpgrade(server, (request, stream, head) => void sockets.upgrade(request, stream, head));
    },
    admitStream: openStreams({ readers, clock, log }),
    count: readers.count,
    /** Ends every reader with a word, marks what they took, and stops. */
    async close(): Promise<void> {
      stopIdentity();
      stopReconnect();
      stopTyping();
      await readers.close();
      await sockets.close();
      await presence.close();
      await rooms.close();
      await taker.close();
    },
  };
}

/** For a process without the role realtime: `/ws` answers 421 and names the role. */
export function refuseSockets(server: Server): void {
  onUpgrade(server, (_request, stream) => refuse(stream, withoutRealtime()));
}

type Upgrade = (request: IncomingMessage, stream: Duplex, head: Buffer) => void;

function onUpgrade(server: Server, answer: Upgrade): void {
  // Any other protocol is declined by an answer as always: some clients offer `h2c` with every request. Source: RFC 9110, 7.8.
  Object.assign(server, { shouldUpgradeCallback: asksForSocket });
  server.on("upgrade", (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    // As for all requests: Fastify does not see this one.
    const refusal = refuseHeaders(request, doorLimits) ?? refuseQuery(request.url ?? "");
    if (refusal !== undefined) refuse(stream, refusal);
    else if (isForSockets(request)) answer(request, stream, head);
    else refuseUnknown(stream);
  });
}

function isForSockets({ url }: IncomingMessage): boolean {
  return url?.split("?", 1)[0] === "/ws";
}

function asksForSocket(request: IncomingMessage): boolean {
  return isForSockets(request) || request.headers.upgrade?.toLowerCase() === "websocket";
}

async function act(deps: RealtimeDeps, { subscriber, room }: Reader, frame: OutwardFrame): Promise<void> {
  const { principal } = subscriber;
  const { signals, log } = deps;
  const noteFailure = (error: unknown) =>
    log.warn({ err: error }, "read marks or typing could not be sent to the platforms");
  requireScope(principal, "conversations:write");
  await countFrame(deps.rateLimits, principal);
  const db = deps.dbOf(principal.workspaceId);
  const conversationId = frame.conversation_id.toLowerCase();
  if (frame.type === "read") {
    await signals.read(db, principal, conversationId, frame.seq);
    deps.eventNotifier.notify(room.workspaceId);
    // The client gets no answer; read marks that a platform does not take now are retried.
    void signals.sendReadMarks(db, conversationId).catch(noteFailure);
  } else {
    await signals.mayType(db, principal, conversationId);
    const { workspaceId, participantId } = principal;
    deps.typingNotifier.notify({ workspaceId, conversationId, participantId });
    void signals.showTyping(db, principal, conversationId).catch(noteFailure);
  }
}
