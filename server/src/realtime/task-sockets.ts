import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { type Authenticator, dependsOn, type Principal, requireScope } from "../credentials/credentials.ts";
import type { PipelineDb } from "../database-roles.ts";
import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { isUuid } from "../lib/ids.ts";
import type { Log } from "../lib/postgres.ts";
import { type Repeated, repeat } from "../lib/repeat.ts";
import { findTask, mayWatch, readTasks, showTask, type TaskNotifier, type TaskRow } from "../tasks/tasks.ts";
import type { Admission, Clients } from "./clients.ts";
import { FrameQuota } from "./frame-limits.ts";
import { readHandshake, requireOwnOrigin } from "./handshake.ts";
import { type CloseReason, socketOutlet } from "./outlet.ts";
import { heartbeatSeconds, maxSilentBeats } from "./socket-connection.ts";
import { endSockets, openSocketServer, refuseUpgrade, requireHttp11, type SocketsDeps } from "./sockets.ts";

interface TaskSocketsDeps extends Pick<SocketsDeps, "origins" | "clientAddress"> {
  db: PipelineDb;
  clients: Pick<Clients, "admit">;
  recheck: Authenticator["recheck"];
  taskNotifier: TaskNotifier;
  clock: Clock;
  log: Log;
}

interface Watcher {
  taskId: string;
  admission: Admission;
  principal: Principal;
  outlet: ReturnType<typeof socketOutlet>;
  socket: WebSocket;
  quota: FrameQuota;
  /** The last frame that was sent. */
  sent: string;
  /** Heartbeats since its last sign of life. */
  silentBeats: number;
}

/** Finds changes without a notification, in milliseconds. */
const pollEveryMs = 1_000;
const recheckEveryMs = 10_000;
/** More that a client has not read, in bytes, ends its socket. */
const maxUnreadBytes = 64 * 1024;

/** `/ws/tasks/{task_id}`: one task as it is, each of its changes, and a close with 1000 when it has ended. */
export class TaskSockets {
  readonly #deps: TaskSocketsDeps;
  readonly #watchers = new Set<Watcher>();
  readonly #server = openSocketServer();
  readonly #polling: Repeated;
  readonly #rechecking: Repeated;
  readonly #beating: Repeated;
  readonly #unsubscribe: () => void;

  constructor(deps: TaskSocketsDeps) {
    const { clock, log, taskNotifier } = deps;
    this.#deps = deps;
    const onFailure = (error: unknown) => log.warn({ err: error }, "tasks could not be read for sockets; tried again");
    this.#polling = repeat(clock, pollEveryMs, () => this.#poll(), onFailure);
    this.#rechecking = repeat(clock, recheckEveryMs, () => this.#recheck(), onFailure);
    this.#beating = repeat(clock, heartbeatSeconds * 1_000, async () => this.#beat(), onFailure);
    this.#unsubscribe = taskNotifier.onChanged((taskId) => {
      const isWatched = [...this.#watchers].some((watcher) => taskId === null || watcher.taskId === taskId);
      if (isWatched) this.#polling.wake();
    });
  }

  async upgrade(request: IncomingMessage, stream: Duplex, head: Buffer, taskId: string): Promise<void> {
    const { db, clients, origins, clientAddress, clock, log } = this.#deps;
    const onError = () => stream.destroy();
    stream.on("error", onError);
    let admission: Admission | null = null;
    let watcher: Watcher | null = null;
    try {
      requireHttp11(request);
      requireOwnOrigin(request, origins);
      const { authorization } = readHandshake(request);
      admission = await clients.admit(authorization, clientAddress(request), requireTaskScope);
      const { principal } = admission;
      const task = await findTask(db, principal, isUuid(taskId) ? taskId.toLowerCase() : noTask);
      this.#server.handleUpgrade(request, stream as never, head, (socket) => {
        stream.off("error", onError);
        const outlet = socketOutlet(socket, stream);
        const own = { taskId: task.task_id, admission: admission!, principal, outlet, socket };
        watcher = { ...own, quota: new FrameQuota(clock), sent: "", silentBeats: 0 };
        this.#watch(watcher, task);
      });
    } catch (error) {
      if (!(error instanceof RequestError)) log.error({ err: error }, "a socket of a task could not be opened");
      refuseUpgrade(this.#server, { request, stream, head }, error);
    } finally {
      if (watcher === null) admission?.giveBack();
    }
  }

  /** Verifies the credentials of the sockets that depend on this session, user or API key. */
  changed(id: string): void {
    if ([...this.#watchers].some(({ principal }) => dependsOn(principal, id))) this.#rechecking.wake();
  }

  async close(): Promise<void> {
    this.#unsubscribe();
    const sockets = [...this.#watchers].map(({ socket }) => socket);
    for (const watcher of [...this.#watchers]) this.#end(watcher, "stopping");
    await Promise.all([this.#polling.close(), this.#rechecking.close(), this.#beating.close()]);
    await endSockets(sockets);
    this.#server.close();
  }

  #watch(watcher: Watcher, task: TaskRow): void {
    const { socket } = watcher;
    this.#watchers.add(watcher);
    socket.on("error", () => {});
    socket.on("close", () => this.#remove(watcher));
    socket.on("pong", () => (watcher.silentBeats = 0));
    // Frames of the client mean nothing here.
    socket.on("message", () => {
      watcher.silentBeats = 0;
      if (watcher.quota.take(0) !== null && watcher.quota.refuse()) this.#end(watcher, "flood");
    });
    this.#show(watcher, task);
    // The credential may have been revoked before the socket could be found among the others.
    this.#rechecking.wake();
  }

  #show(watcher: Watcher, task: TaskRow): void {
    const frame = JSON.stringify({ type: "TASK", task: showTask(task) });
    if (frame !== watcher.sent) {
      watcher.sent = frame;
      watcher.socket.send(frame);
    }
    if (task.finished_at !== null) this.#end(watcher, "ended");
    else if (watcher.socket.bufferedAmount > maxUnreadBytes) this.#end(watcher, "slow");
  }

  async #poll(): Promise<void> {
    // A later one has been shown a state that may be newer than what is read now.
    const watchers = [...this.#watchers];
    if (watchers.length === 0) return;
    const ids = [...new Set(watchers.map(({ taskId }) => taskId))];
    const tasks = new Map((await readTasks(this.#deps.db, ids)).map((task) => [task.task_id, task]));
    for (const watcher of watchers) {
      const task = tasks.get(watcher.taskId);
      if (!this.#watchers.has(watcher)) continue;
      if (task === undefined) this.#end(watcher, "broken");
      else if (!mayWatch(watcher.principal, task)) this.#end(watcher, "forbidden");
      else this.#show(watcher, task);
    }
  }

  /** What a changed role no longer sees, the next poll ends. */
  async #recheck(): Promise<void> {
    for (const watcher of [...this.#watchers]) {
      try {
        watcher.principal = await this.#deps.recheck(watcher.admission.authorization);
        requireTaskScope(watcher.principal);
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        const isCredential = error.code.startsWith("AUTH_") || error.code === "API_KEY_INVALID";
        if (isCredential) this.#end(watcher, "credential");
        else if (error.code === "FORBIDDEN") this.#end(watcher, "forbidden");
      }
    }
    this.#polling.wake();
  }

  #beat(): void {
    for (const watcher of [...this.#watchers]) {
      watcher.silentBeats += 1;
      if (watcher.silentBeats > maxSilentBeats) this.#end(watcher, "silent");
      else watcher.outlet.ping();
    }
  }

  #end(watcher: Watcher, reason: CloseReason): void {
    this.#remove(watcher);
    watcher.outlet.close(reason);
  }

  #remove(watcher: Watcher): void {
    if (this.#watchers.delete(watcher)) watcher.admission.giveBack();
  }
}

const noTask = "00000000-0000-0000-0000-000000000000";

function requireTaskScope(principal: Principal): void {
  requireScope(principal, "tasks:read");
}
