/**
 * The disaster: an operator turns `FUSE` off, or on again, while messages wait for the platforms, and one of them is lost,
 * sent twice, or overtaken.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../server/src/testing/until.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { openPlatforms } from "./src/harness.ts";
import { openHubPlace, programOf, startHubProcess } from "./src/hub-place.ts";
import { openLoad, openTalk } from "./src/load.ts";
import { assertFine, countPending, observe, settledByApi } from "./src/observe.ts";
import { openPerson } from "./src/people.ts";
import { withoutProc } from "./src/processes.ts";
import { openSimulatorClient } from "./src/simulator-client.ts";

const channels = ["whatsapp", "telegram"];
const talksOnEach = 3;
/** How long the platforms take for each message: longer than its senders, who so leave work behind. */
const latencyMs = 150;
const pauseMs = 50;
/** Deliveries that wait when the hub ends. */
const leftBehind = 20;

test(
  "FUSE is turned off and on again at restarts with work under way: nothing is lost, and order is kept",
  { skip: withoutProc },
  async (t) => {
    await using simulator = await startSimulator(openPlatforms);
    const platforms = openSimulatorClient(simulator.url);
    for (const channel of channels) {
      await platforms.settings(channel, { time_factor: 1_000 });
      await platforms.break({ channel, fault: "slow", delay_ms: latencyMs });
    }
    await using place = await openHubPlace({ SIMULATOR_URL: simulator.url });
    let hub = await startHubProcess(place, { FUSE: "on" });
    const client = await programOf(place);
    const load = openLoad(client);
    const people = channels.flatMap((channel) =>
      Array.from({ length: talksOnEach }, (_, index) => openPerson(platforms, channel, index, `Person ${index}`)),
    );
    const talks = await Promise.all(people.map((person) => openTalk(client, load, person)));
    const senders = talks.flatMap((talk) => ["a", "b"].map((name) => load.sender(talk, name, { pauseMs })));

    for (const [signal, next] of [
      ["SIGTERM", "off"],
      ["SIGTERM", "on"],
      ["SIGKILL", "off"],
      ["SIGKILL", "on"],
    ] as const) {
      const [accepted, sent] = [load.accepted(), await platforms.count()];
      await until(`it works, and ${leftBehind} deliveries wait`, async () => {
        const isWorking = load.accepted() > accepted + leftBehind && (await platforms.count()) > sent + leftBehind;
        return isWorking && (await countPending(client)) >= leftBehind;
      });
      hub.kill(signal);
      await hub.ended;
      hub = await startHubProcess(place, { FUSE: next });
    }
    load.stop();
    await Promise.all(senders);
    await platforms.repair();
    const conversationIds = talks.map(({ conversationId }) => conversationId);
    await settledByApi(client, platforms, conversationIds);
    const report = await observe({ client, simulator: platforms, conversationIds, checker: load.checker });
    assertFine(report);
    t.diagnostic(JSON.stringify(report.counts));
    assert.deepEqual((await client.deadLetters.list()).data, []);
  },
);
