import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { Secret } from "../lib/secret.ts";
import { openFileLinks } from "./file-links.ts";

const pageUrl = "https://hub.example/f";
const [old, current] = [new Secret("old"), new Secret("current")];
const file = { workspaceId: randomUUID(), fileId: randomUUID() };

function open(secrets = [current, old], nowMs = 1_700_000_000_000) {
  return openFileLinks({
    pageUrl,
    secrets,
    ttlMs: 60_000,
    clock: { now: () => nowMs, elapsed: () => 0, after: () => () => {} },
  });
}

const tokenOf = (url: string) => url.slice(pageUrl.length + 1);

test("a link leads to its file until it expires, also after the keys were changed", () => {
  const url = open([old]).link(file);
  assert.ok(url.length < 110, url);
  const opened = open().open(tokenOf(url));
  assert.deepEqual(opened, { kind: "open", ...file, expiresAt: new Date(1_700_000_060_000) });
  assert.deepEqual(open(undefined, 1_700_000_060_000).open(tokenOf(url)), { kind: "expired" });
  assert.deepEqual(open([current]).open(tokenOf(url)), { kind: "missing" });
});

test("no character of a token can be changed, added or left out", () => {
  const token = tokenOf(open().link(file));
  for (let place = 0; place < token.length; place += 1) {
    const other = token[place] === "A" ? "B" : "A";
    assert.deepEqual(
      open().open(token.slice(0, place) + other + token.slice(place + 1)),
      { kind: "missing" },
      `${place}`,
    );
  }
  for (const other of ["", "A", token.slice(1), `${token}A`, `${token}=`, ` ${token}`, `${token}%00`]) {
    assert.deepEqual(open().open(other), { kind: "missing" }, other);
  }
});
