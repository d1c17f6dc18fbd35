import assert from "node:assert/strict";
import { test } from "node:test";
import { requireSettings } from "./account-input.ts";

const rules = { allowPrivate: false, allowedOrigins: ["http://127.0.0.1:8090"] };
const take = (base_url: string, given = rules) => requireSettings({ base_url }, given);

test("a platform may have any public URL, with a path", () => {
  for (const url of [
    "https://graph.facebook.com",
    "https://proxy.example.com:8443/whatsapp",
    "https://93.184.216.34",
  ]) {
    assert.deepEqual(take(url), { base_url: url });
  }
});

test("a URL has one form", () => {
  const wrong: [url: string, says: RegExp][] = [
    ["graph.facebook.com", /http or https URL/],
    ["ftp://example.com", /http or https URL/],
    ["https://user:pass@example.com", /no user, password, query or fragment/],
    ["https://example.com/?a=1", /no user, password, query or fragment/],
    ["https://example.com#x", /no user, password, query or fragment/],
    ["https://example.com/", /written as https:\/\/example.com\./],
    ["https://EXAMPLE.com/a/", /written as https:\/\/example.com\/a\./],
    ["https://example.com/a/../b", /written as https:\/\/example.com\/b\./],
  ];
  for (const [url, says] of wrong) assert.throws(() => take(url), says, url);
});

// A user who may connect accounts must not reach the hub's internal network.
test("an internal URL is refused in every form", () => {
  for (const host of [
    "127.0.0.1:8091",
    "10.0.0.1",
    "169.254.169.254",
    "[::1]",
    "[::ffff:a00:1]",
    "localhost",
    "db.internal",
    "printer.local",
    "postgres",
    "localhost.",
  ]) {
    assert.throws(() => take(`https://${host}`), /not on the public internet|names the port/, host);
  }
  for (const host of ["2130706433", "0x7f.1", "127.1"]) assert.throws(() => take(`http://${host}`), /written as/, host);
});

// The account's credentials are sent there.
test("a public base_url must be https, on port 443 or 80, or on one above 1023 that is not another service's", () => {
  for (const url of ["http://93.184.216.34", "http://graph.example.com:8443"]) {
    assert.throws(() => take(url), /must begin with https/, url);
  }
  for (const port of [22, 25, 6667, 5432, 6379, 2375]) {
    assert.throws(() => take(`https://graph.example.com:${port}`), /names the port/, String(port));
  }
  assert.ok(take("https://graph.example.com:8443"));
});

test("the simulator is allowed by its origin, and private IP addresses where configured, but no port of another service", () => {
  assert.ok(take("http://127.0.0.1:8090/whatsapp"));
  const trusting = { ...rules, allowPrivate: true };
  assert.ok(take("http://127.0.0.1:9999", trusting));
  assert.throws(() => take("http://127.0.0.1:22", trusting), /names the port 22/);
});
