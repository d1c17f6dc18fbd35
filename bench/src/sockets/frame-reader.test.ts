import assert from "node:assert/strict";
import { test } from "node:test";
import { frameOf, pingBytes } from "../../../server/src/realtime/frames.ts";
import { frameReader, seeFrame } from "./frame-reader.ts";

test("frames of every length are read, wherever the chunks are split", () => {
  const lengths = [0, 10, 125, 126, 200, 65_535, 65_536, 70_000];
  const frames = lengths.map((length, index) => frameOf("NEW_MESSAGE", String(index), { text: "x".repeat(length) }));
  const bytes = Buffer.concat(frames.flatMap((frame) => [frame.bytes, pingBytes]));
  for (const chunk of [1, 7, 1_000, bytes.length]) {
    const texts: string[] = [];
    const pings: string[] = [];
    const read = frameReader({
      onText: (payload) => void texts.push(payload.toString()),
      onPing: () => void pings.push("ping"),
      onClose: () => assert.fail("no frame says goodbye"),
    });
    for (let start = 0; start < bytes.length; start += chunk) read(bytes.subarray(start, start + chunk));
    assert.deepEqual(
      texts,
      frames.map(({ text }) => text),
    );
    assert.equal(pings.length, frames.length);
  }
});

test("type and cursor are found at the start of a frame", () => {
  const frame = frameOf("MESSAGE_STATUS", "123456", { content: '"type":"GAP","cursor":"1"}', status: "read" });
  assert.deepEqual(seeFrame(Buffer.from(frame.text)), { type: "MESSAGE_STATUS", cursor: 123456 });
});
