import { once } from "node:events";
import { WebSocket } from "ws";
import type { Task } from "../../client/src/client.ts";

export interface WatchedTask extends Disposable {
  frames: { type: string; task: Task }[];
  closed: Promise<{ code: number; reason: string }>;
}

/** A socket at `/ws/tasks/{task_id}` that keeps every frame. */
export async function watchTask(hubUrl: string, taskId: string, token: string): Promise<WatchedTask> {
  const socket = new WebSocket(`${hubUrl.replace(/^http/, "ws")}/ws/tasks/${taskId}`, ["bearer", token]);
  const frames: WatchedTask["frames"] = [];
  const closed = Promise.withResolvers<{ code: number; reason: string }>();
  socket.on("message", (data: Buffer) => frames.push(JSON.parse(data.toString())));
  socket.on("close", (code, reason) => closed.resolve({ code, reason: reason.toString() }));
  await once(socket, "open");
  return { frames, closed: closed.promise, [Symbol.dispose]: () => socket.terminate() };
}
