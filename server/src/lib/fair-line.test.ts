import assert from "node:assert/strict";
import { test } from "node:test";
import { FairLine, type Source } from "./fair-line.ts";

function open(limits = { total: 100, perAddress: 50, perAccount: 10 }) {
  const line = new FairLine(limits);
  const served: string[] = [];
  const refused: string[] = [];
  return {
    line,
    served,
    refused,
    enter(name: string, source: Source) {
      void line.enter(source).then((isServed) => (isServed ? served : refused).push(name));
    },
    async serveAll(most = 1_000) {
      for (let n = 0; n < most && line.serveNext(); n += 1);
      await new Promise(setImmediate);
    },
  };
}

const from = (address: string, account: string): Source => ({ address, account });

test("a source that asks many times delays another by one turn", async () => {
  const { enter, serveAll, served } = open();
  for (let n = 0; n < 10; n += 1) enter(`loud ${n}`, from("a", "loud"));
  enter("neighbour", from("a", "quiet"));
  enter("stranger", from("b", "other"));
  await serveAll();
  assert.ok(served.indexOf("stranger") <= 1, `${served}`);
  assert.ok(served.indexOf("neighbour") <= 3, `${served}`);
  assert.equal(served.length, 12);
});

// Neither one IP address with ever new accounts nor a crowd of IP addresses may starve a request that waits.
for (const [what, sourceOf] of [
  ["addresses", (n: number) => from(`new ${n}`, `new ${n}`)],
  ["accounts of one address", (n: number) => from("a", `new ${n}`)],
] as const) {
  test(`${what} that come later are served after those that wait`, async () => {
    const { enter, serveAll, served } = open();
    enter("first", from("a", "ana"));
    enter("second", from("a", "ana"));
    for (let n = 0; n < 20; n += 1) {
      enter(`new ${n}`, sourceOf(n));
      await serveAll(1);
    }
    assert.ok(served.includes("second") && served.indexOf("second") < 6, `${served}`);
  });
}

test("an account, an IP address and the whole line have a limit", async () => {
  const { enter, line, refused } = open({ total: 6, perAddress: 4, perAccount: 2 });
  for (let n = 0; n < 3; n += 1) enter(`ana ${n}`, from("a", "ana"));
  assert.equal(line.size, 2);
  for (let n = 0; n < 5; n += 1) enter(`a ${n}`, from("a", `other ${n}`));
  assert.equal(line.size, 4);
  for (let n = 0; n < 5; n += 1) enter(`b ${n}`, from("b", `b ${n}`));
  assert.equal(line.size, 6);
  await new Promise(setImmediate);
  assert.equal(refused.length, 7);
});

test("in a full line the newest request of the largest source gives its place to a smaller source", async () => {
  const { enter, serveAll, served, refused } = open({ total: 6, perAddress: 6, perAccount: 6 });
  for (let n = 0; n < 6; n += 1) enter(`loud ${n}`, from("a", "loud"));
  enter("ana", from("b", "ana"));
  await serveAll();
  assert.deepEqual(refused, ["loud 5"]);
  assert.equal(served.indexOf("ana"), 1);
  assert.equal(served.length, 6);
});

test("in a full share of an account or IP address, too, the newest of the largest source gives up its place", async () => {
  for (const [limits, smaller] of [
    [{ total: 9, perAddress: 9, perAccount: 2 }, from("b", "loud")],
    [{ total: 9, perAddress: 2, perAccount: 9 }, from("a", "quiet")],
  ] as const) {
    const { enter, serveAll, served, refused } = open(limits);
    for (let n = 0; n < 2; n += 1) enter(`loud ${n}`, from("a", "loud"));
    enter("smaller", smaller);
    await serveAll();
    assert.deepEqual([refused, served], [["loud 1"], ["loud 0", "smaller"]]);
  }
});

// Otherwise sources that return again and again take the place from one another, and none is served.
test("in a full line of equal sources no request loses its place", async () => {
  const { enter, line, serveAll, served, refused } = open({ total: 2, perAddress: 2, perAccount: 2 });
  for (const name of ["first", "second", "third"]) enter(name, from(name, name));
  assert.equal(line.hasRoom("third"), false);
  await serveAll();
  assert.deepEqual([refused, served], [["third"], ["first", "second"]]);
});

test("a full queue refuses the IP address that fills it, and no other", () => {
  const { enter, line } = open({ total: 3, perAddress: 3, perAccount: 3 });
  for (let n = 0; n < 3; n += 1) enter(`loud ${n}`, from("a", "loud"));
  assert.equal(line.hasRoom("a"), false);
  assert.equal(line.hasRoom("b"), true);
});
