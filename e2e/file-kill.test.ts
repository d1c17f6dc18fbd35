/**
 * The disaster: a hub dies while it sends or fetches a file, and the file is lost, arrives cut off, or is overtaken by
 * what was said after it.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { createTestDatabase } from "../server/src/testing/test-database.ts";
import { until } from "../server/src/testing/until.ts";
import { generate } from "../simulator/src/media/generate.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { openChance } from "./src/chance.ts";
import { adminPassword, openPlatforms, sharedSecrets } from "./src/harness.ts";
import { openHubPlace, programOf, startHubProcess } from "./src/hub-place.ts";
import { openPerson, type Person } from "./src/people.ts";
import { withoutProc } from "./src/processes.ts";
import { openSimulatorClient, type PlatformMessage } from "./src/simulator-client.ts";

const rounds = 6;
const mebibyte = 1024 * 1024;

test(
  "a hub that is killed again and again loses no file, cuts none off, and keeps their order",
  { skip: withoutProc },
  async () => {
    await using opened = new AsyncDisposableStack();
    const database = opened.use(await createTestDatabase());
    const simulator = openSimulatorClient(opened.use(await startSimulator(openPlatforms)).url);
    const env = { ...sharedSecrets, DATABASE_URL: database.url, SIMULATOR_URL: simulator.url };
    const place = opened.use(await openHubPlace(env));
    let hub = await startHubProcess(place);
    const client = await programOf(place);
    const ana = openPerson(simulator, "whatsapp", 1, "Ana");
    const bea = openPerson(simulator, "telegram", 2, "Bea");
    const agent = { username: "agent", email: "agent@example.com", password: adminPassword, role: "agent" } as const;
    const { user_id } = await client.users.create(agent);
    const members = [ana, bea].map(({ address, name }) => ({ address, display_name: name }));
    const { conversation_id } = await client.conversations.create({
      type: "group",
      title: "Files",
      members: [...members, user_id],
    });
    const pdf = Buffer.concat([...generate("application/pdf", 12 * mebibyte)]);
    const picture = Buffer.concat([...generate("image/jpeg", 2 * mebibyte)]);
    const { file_id } = await client.files.upload(new Blob([pdf]), { filename: "offer.pdf" });
    const chance = openChance(7);
    await client.messages.send({ conversation_id, payload: { type: "text", text: "start" } });
    await Promise.all([ana.receives(1), bea.receives(1)]);

    for (let round = 1; round <= rounds; round += 1) {
      await client.messages.send({ conversation_id, payload: { type: "file", file_id, caption: `offer ${round}` } });
      await client.messages.send({ conversation_id, payload: { type: "text", text: `after ${round}` } });
      const written = bea.writes({
        type: "file",
        content_type: "image/jpeg",
        caption: `picture ${round}`,
        content: picture.toString("base64"),
      });
      await new Promise((resolve) => setTimeout(resolve, chance.below(400)));
      hub.kill("SIGKILL");
      await hub.ended;
      hub = await startHubProcess(place);
      await written;
    }

    for (const person of [ana, bea]) {
      const got = await until(`all of it reaches ${person.name}`, async () => {
        const messages = await person.received();
        const words = new Set(messages.map(wordsOf));
        return expectedBy(person).every((each) => words.has(each)) && messages;
      });
      const firsts = [...new Set(got.map(wordsOf))].filter((each) => /^(offer|after) /.test(each));
      assert.deepEqual(
        firsts,
        Array.from({ length: rounds }, (_, index) => [`offer ${index + 1}`, `after ${index + 1}`]).flat(),
      );
      for (const message of got) {
        if (message.media === null) continue;
        const expected = wordsOf(message).startsWith("offer") ? pdf : picture;
        assert.equal(message.media.sha256, createHash("sha256").update(expected).digest("hex"), wordsOf(message));
      }
    }
    const { data } = await client.conversations.messages(conversation_id, { limit: 200 });
    const files = data.filter(({ direction }) => direction === "inbound").map(({ file }) => file);
    assert.deepEqual(
      files.map((file) => [file?.status, file?.size]),
      Array(rounds).fill(["completed", picture.length]),
    );

    function expectedBy(person: Person): string[] {
      const numbers = Array.from({ length: rounds }, (_, index) => index + 1);
      const kinds = person === ana ? ["offer", "after", "picture"] : ["offer", "after"];
      return numbers.flatMap((number) => kinds.map((kind) => `${kind} ${number}`));
    }
  },
);

/** Without the author's name. */
function wordsOf({ text, media }: PlatformMessage): string {
  return (media?.caption ?? text ?? "").replace(/^[^:]*: /, "");
}
