import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import type { ServerFrame } from "./frames.ts";
import { openRealtimeSocket } from "./realtime-socket.ts";

/** The other side, as a network shows it that loses everything from some moment on. */
class SilentSocket extends EventTarget {
  static readonly OPEN = 1;
  static last: SilentSocket;
  readonly url: string;
  readonly protocols: string[];
  readyState = 1;
  readonly said: string[] = [];
  isClosed = false;

  constructor(url: string, protocols: string[]) {
    super();
    this.url = url;
    this.protocols = protocols;
    SilentSocket.last = this;
  }

  send(text: string): void {
    this.said.push(text);
  }

  close(): void {
    this.isClosed = true;
  }

  receive(frame: object): void {
    this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(frame) }));
  }
}

const hello = { type: "HELLO", cursor: "7", connection_id: "c", heartbeat_seconds: 30 };

function open(cursor: string | null = null) {
  const frames: ServerFrame[] = [];
  const socket = openRealtimeSocket({
    WebSocket: SilentSocket as unknown as typeof WebSocket,
    url: "https://hub.test",
    token: "t",
    cursor,
    onFrame: (frame) => void frames.push(frame),
  });
  return { frames, socket, other: SilentSocket.last };
}

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout"] });
});

afterEach(() => mock.timers.reset());

test("the token is sent as a subprotocol, and the cursor in the URL", () => {
  const { other } = open("41");
  assert.deepEqual([other.url, other.protocols], ["wss://hub.test/ws?cursor=41", ["bearer", "t"]]);
});

test("after HELLO a socket without a cursor sends start, and one with a cursor does not", () => {
  const [fresh, resuming] = [open(), open("41")];
  for (const { other } of [fresh, resuming]) other.receive(hello);
  assert.deepEqual(fresh.other.said, ['{"type":"start"}']);
  assert.deepEqual(resuming.other.said, []);
});

test("a socket without HELLO is closed", async () => {
  const { socket, other } = open();
  mock.timers.tick(10_000);
  assert.deepEqual(await socket.ended, { code: 1006, wasOpen: false });
  assert.ok(other.isClosed);
});

// A network that is gone without a word: the browser would wait for minutes.
test("a silent hub gets a PING after a heartbeat, and the socket is closed without a response", async () => {
  const { socket, other, frames } = open("7");
  other.receive(hello);
  mock.timers.tick(29_999);
  assert.deepEqual(other.said, []);
  mock.timers.tick(1);
  assert.deepEqual(other.said, ['{"type":"ping"}']);
  mock.timers.tick(9_999);
  other.receive({ type: "PONG", cursor: "7" });
  mock.timers.tick(30_000);
  assert.equal(other.said.length, 2);
  mock.timers.tick(10_000);
  assert.deepEqual(await socket.ended, { code: 1006, wasOpen: true });
  other.receive({ type: "PONG", cursor: "8" });
  assert.equal(frames.length, 2);
});
