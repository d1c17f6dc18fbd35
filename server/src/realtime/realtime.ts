/** The entrance of realtime: sockets and streams, which get events as they happen. */

import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { liveEvents } from "../../../contract/src/events.ts";
import { type Authenticator, requireScope } from "../credentials/credentials.ts";
import type { PipelineDb, RequestDb } from "../database-roles.ts";
import { openTaker } from "../deliveries/deliveries.ts";
import { withoutRealtime } from "../errors.ts";
import type { EventNotifier, TypingNotifier } from "../events/events.ts";
import { doorLimits, refuseHeaders, refuseQuery } from "../http/limits.ts";
import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";
import type { ConversationId } from "../lib/ids.ts";
import type { Log } from "../lib/postgres.ts";
import type { RateLimits } from "../lib/rate-limits/rate-limits.ts";
import type { Signals } from "../signals/signals.ts";
import type { TaskNotifier } from "../tasks/tasks.ts";
import type { Client } from "./client.ts";
import type { ClientLimits } from "./client-limits.ts";
import { Clients } from "./clients.ts";
import { countFrame } from "./frame-limits.ts";
import { frameOf } from "./frames.ts";
import type { OriginRules } from "./handshake.ts";
import { LiveFeeds } from "./live-feeds.ts";
import { Presence } from "./presence.ts";
import type { OutwardFrame } from "./socket-connection.ts";
import { refuse, refuseUnknown, Sockets, type SocketsDeps } from "./sockets.ts";
import { openStreams } from "./streams.ts";
import { TaskSockets } from "./task-sockets.ts";

interface RealtimeDeps {
  /** Sees all workspaces: who may see what is decided here. */
  pipelineDb: PipelineDb;
  dbOf: (workspaceId: string) => RequestDb;
  eventNotifier: EventNotifier;
  typingNotifier: TypingNotifier;
  taskNotifier: TaskNotifier;
  fanout: Fanout;
  clock: Clock;
  log: Log;
  authenticator: Pick<Authenticator, "authenticate" | "recheck">;
  signals: Pick<Signals, "read" | "sendReadMarks" | "mayType" | "showTyping">;
  limits: RateLimits;
}

interface RealtimeOptions {
  origins: OriginRules;
  maxClients: number;
  limits: ClientLimits;
  clientAddress: SocketsDeps["clientAddress"];
}

/** The channel of the fan-out with the ids of sessions, users and keys that changed. */
export const identityChannel = "identity";

export function openRealtime(deps: RealtimeDeps, { origins, maxClients, limits, clientAddress }: RealtimeOptions) {
  const { pipelineDb: db, eventNotifier, typingNotifier, fanout, clock, log } = deps;
  const { authenticate, recheck } = deps.authenticator;
  const taker = openTaker({ db, eventNotifier, clock, log });
  const feeds = new LiveFeeds({ db, eventNotifier, clock, log, onTaken: taker.taken });
  const presence = new Presence({ db, fanout, feeds, clock, log });
  const clients = new Clients({ feeds, authenticate, recheck, clock, log, maxClients, limits, presence });
  const onFrame = (client: Client, frame: OutwardFrame) => handleFrame(deps, client, frame);
  const ofSockets = { clients, clock, log, origins, clientAddress };
  const sockets = new Sockets({ ...ofSockets, onFrame });
  const taskSockets = new TaskSockets({ ...ofSockets, db, recheck, taskNotifier: deps.taskNotifier });
  const stopTyping = publishTyping({ typingNotifier, feeds });
  const stopIdentity = fanout.subscribe(identityChannel, (id) => {
    void clients.changed(id);
    taskSockets.changed(id);
  });
  const stopReconnect = fanout.onReconnect(() => void clients.recheckAll());

  return {
    attach(server: Server): void {
      onUpgrade(server, (request, stream, head) => {
        const taskId = taskOf(request);
        if (taskId === null) void sockets.upgrade(request, stream, head);
        else void taskSockets.upgrade(request, stream, head, taskId);
      });
    },
    admitStream: openStreams({ clients, clock, log }),
    count: () => clients.count(),
    async close(): Promise<void> {
      stopIdentity();
      stopReconnect();
      stopTyping();
      await taskSockets.close();
      await clients.close();
      await sockets.close();
      await presence.close();
      await feeds.close();
      await taker.close();
    },
  };
}

/** For a process without the role realtime: `/ws` returns 421 and names the role. */
export function refuseSockets(server: Server): void {
  onUpgrade(server, (_request, stream) => refuse(stream, withoutRealtime()));
}

type Upgrade = (request: IncomingMessage, stream: Duplex, head: Buffer) => void;

function onUpgrade(server: Server, answer: Upgrade): void {
  // Other protocols are ignored and the request is handled: some clients offer `h2c` with each. Source: RFC 9110, 7.8.
  Object.assign(server, { shouldUpgradeCallback: asksForSocket });
  server.on("upgrade", (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    // As for all requests: Fastify does not see this one.
    const refusal = refuseHeaders(request, doorLimits) ?? refuseQuery(request.url ?? "");
    if (refusal !== undefined) refuse(stream, refusal);
    else if (isForSockets(request)) answer(request, stream, head);
    else refuseUnknown(stream);
  });
}

function isForSockets(request: IncomingMessage): boolean {
  return pathOf(request) === "/ws" || taskOf(request) !== null;
}

/** What is named as the id of a task; null for another path. */
function taskOf(request: IncomingMessage): string | null {
  return /^\/ws\/tasks\/([^/]+)$/.exec(pathOf(request))?.[1] ?? null;
}

function pathOf({ url = "" }: IncomingMessage): string {
  return url.split("?", 1)[0]!;
}

function asksForSocket(request: IncomingMessage): boolean {
  return isForSockets(request) || request.headers.upgrade?.toLowerCase() === "websocket";
}

/** Publishes typing to the clients of this process that see the conversation. Returns a function that stops it. */
function publishTyping(deps: { typingNotifier: TypingNotifier; feeds: LiveFeeds }): () => void {
  return deps.typingNotifier.subscribe(({ workspaceId, conversationId, participantId }) => {
    const feed = deps.feeds.peek(workspaceId);
    if (feed === undefined) return;
    void feed.membersOf([conversationId]).then(
      (membersOf) => {
        const fields = { event: liveEvents.TYPING, conversation_id: conversationId, user_id: participantId };
        const audience = { agents: true, participantIds: membersOf(conversationId) };
        const isTyping = ({ principal }: Client) => principal.participantId === participantId;
        feed.publish(audience, frameOf("TYPING", feed.cursor(), fields), isTyping);
      },
      // The database does not respond. By the time that it does, this typing is over.
      () => {},
    );
  });
}

async function handleFrame(deps: RealtimeDeps, { principal }: Client, frame: OutwardFrame): Promise<void> {
  const { signals, log } = deps;
  const { workspaceId, participantId } = principal;
  const warn = (error: unknown) => log.warn({ err: error }, "read marks or typing could not be sent to the platforms");
  requireScope(principal, "conversations:write");
  await countFrame(deps.limits, principal);
  const db = deps.dbOf(workspaceId);
  const conversationId = frame.conversation_id.toLowerCase() as ConversationId;
  if (frame.type === "read") {
    await signals.read(db, principal, conversationId, frame.seq);
    deps.eventNotifier.notify(workspaceId);
    // The client gets no response; read marks that a platform does not accept now are retried.
    void signals.sendReadMarks(db, conversationId).catch(warn);
  } else {
    await signals.mayType(db, principal, conversationId);
    deps.typingNotifier.notify({ workspaceId, conversationId, participantId });
    void signals.showTyping(db, principal, conversationId).catch(warn);
  }
}
