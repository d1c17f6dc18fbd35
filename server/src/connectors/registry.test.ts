import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { credentialFields } from "../../../contract/src/channels.ts";
import { channels, connectorFor, connectors } from "./registry.ts";

/** `meta` is not a channel: Meta's platforms share it. */
const folders = readdirSync(import.meta.dirname, { withFileTypes: true }).filter(
  (entry) => entry.isDirectory() && entry.name !== "meta",
);

test("every folder of a connector is registered, and every registered one has its folder", () => {
  assert.deepEqual(channels.toSorted(), folders.map((folder) => folder.name).toSorted());
  for (const connector of connectors) assert.equal(connectorFor(connector.channel), connector);
});

test("the contract names every channel with the fields of its credentials", () => {
  const fields = connectors.map(({ channel, credentials }) => [channel, Object.keys(credentials.properties)]);
  assert.deepEqual(Object.entries(credentialFields), fields);
});

test("a channel that does not exist has no connector", () => {
  for (const name of ["", "app", "WhatsApp", "constructor", "__proto__"]) assert.equal(connectorFor(name), undefined);
});

test("every connector has a README, a test and its three main files", () => {
  for (const channel of channels) {
    const missing = [
      `${channel}.ts`,
      `${channel}.test.ts`,
      "README.md",
      "webhook.ts",
      "send.ts",
      "capabilities.ts",
    ].filter((file) => !existsSync(`${import.meta.dirname}/${channel}/${file}`));
    assert.deepEqual(missing, []);
  }
});

test("no connector accepts unknown credentials", () => {
  for (const { credentials } of connectors) assert.partialDeepStrictEqual(credentials, { additionalProperties: false });
});
