import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openClient } from "../client/src/client.ts";
import { until } from "../server/src/testing/until.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { adminPassword, openPlatforms } from "./src/harness.ts";
import { openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { openLoad, openTalk } from "./src/load.ts";
import { assertFine, observe, settledByApi } from "./src/observe.ts";
import { openPerson } from "./src/people.ts";
import { withoutProc } from "./src/processes.ts";
import { openSimulatorClient } from "./src/simulator-client.ts";

const diskMegabytes = 400;

/** A separate disk at this folder, which only root may mount. */
function mountDisk(folder: string): Disposable & { fill(): void; free(): void } {
  mkdirSync(folder);
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${diskMegabytes}m,mode=0711`, "tmpfs", folder]);
  const ballast = join(folder, "ballast");
  return {
    fill() {
      const file = openSync(ballast, "w");
      for (let size = 1 << 20; size >= 1; size /= 2) {
        const chunk = Buffer.alloc(size);
        try {
          for (;;) if (writeSync(file, chunk) < size) break;
        } catch (error) {
          assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
        }
      }
      closeSync(file);
    },
    free: () => rmSync(ballast),
    [Symbol.dispose]: () => void execFileSync("umount", ["--lazy", folder]),
  };
}

function canMount(): string | false {
  if (withoutProc || process.getuid?.() !== 0) return "needs Linux and root, to mount a small disk";
  try {
    execFileSync("unshare", ["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], { stdio: "ignore" });
    return false;
  } catch {
    return "may not mount a small disk here";
  }
}

type Readiness = { status: string; troubles: { part: string; code: string; failures: number }[] };

async function readiness(url: string): Promise<{ status: number; body: Readiness }> {
  const answer = await fetch(`${url}/readyz`);
  return { status: answer.status, body: (await answer.json()) as Readiness };
}

// Once three of 320 accepted messages were never sent, and the hub ended after ten failures within a minute.
test(
  "on a full disk requests get 503 and nothing is lost; with room again everything continues, even after a database crash",
  { skip: canMount() },
  async () => {
    await using simulator = await startSimulator(openPlatforms);
    await using place = await openHubPlace({ SIMULATOR_URL: simulator.url });
    using disk = mountDisk(place.dataDir);
    const hub = await startHubProcess(place);
    const platforms = openSimulatorClient(simulator.url);
    const admin = openClient({ url: place.url, credential: { username: "admin", password: adminPassword } });
    const token = (await admin.apiKeys.create({ name: "test", scopes: ["*"] })).key;
    const client = openClient({ url: place.url, credential: { token } });
    const load = openLoad(client);
    const people = Array.from({ length: 6 }, (_, index) => {
      return openPerson(platforms, index % 2 ? "telegram" : "whatsapp", index, `Person ${index}`);
    });
    const talks = await Promise.all(people.map((person) => openTalk(client, load, person)));
    const senders = talks.map((talk) => load.sender(talk, "m", { count: 150, pauseMs: 20 }));
    await until("it is at work", () => load.accepted() > 60);

    disk.fill();
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const post = async (path: string, body: object) => {
      const answer = await fetch(place.url + path, { method: "POST", headers, body: JSON.stringify(body) });
      const text = await answer.text();
      assert.ok(answer.ok || answer.status === 503, `${path} got ${answer.status}: ${text}`);
      return { isRefused: answer.status === 503, retryAfter: answer.headers.get("retry-after"), text };
    };
    let count = 0;
    const refused = await until("a message is refused", async () => {
      const words = `by hand ${++count} ${"x".repeat(3_000)}`;
      const body = { message_id: randomUUID(), conversation_id: talks[0]!.conversationId };
      const answer = await post("/v1/messages", { ...body, payload: { type: "text", text: words } });
      if (!answer.isRefused) load.note(talks[0]!, body.message_id, words, JSON.parse(answer.text).seq);
      return answer.isRefused && answer;
    });
    await until("other requests are refused", async () => {
      return (await post("/v1/contacts", { display_name: `Contact ${++count} ${"x".repeat(180)}` })).isRefused;
    });
    assert.match(refused.text, /"OVERLOADED"/);
    assert.ok(Number(refused.retryAfter) >= 1);

    const [pid] = readFileSync(join(place.dataDir, "postgres", "postmaster.pid"), "utf8").split("\n");
    process.kill(Number(pid), "SIGKILL");
    await until("the database cannot come back, and readyz says why", async () => {
      const { status, body } = await readiness(place.url);
      const trouble = body.troubles.find(({ part }) => part === "embedded PostgreSQL");
      return status === 503 && trouble?.code === "ENOSPC" && trouble.failures > 10;
    });

    disk.free();
    await until("it is ready again", async () => (await readiness(place.url)).status === 200);
    await Promise.all(senders);
    const conversationIds = talks.map(({ conversationId }) => conversationId);
    await settledByApi(client, platforms, conversationIds);
    const report = await observe({
      client,
      simulator: platforms,
      conversationIds,
      checker: load.checker,
      trails: false,
    });
    assertFine(report);
    assert.equal(report.counts.received, report.counts.accepted);
    assert.deepEqual((await client.deadLetters.list()).data, []);
    hub.kill("SIGTERM");
    assert.deepEqual(await hub.ended, { code: 0, signal: null });
  },
);
