import assert from "node:assert/strict";
import { test } from "node:test";
import type { RequestError } from "../errors.ts";
import { testParseAddress as parseAddress } from "../testing/test-people.ts";
import { formatAddress } from "./contacts.ts";

function refusal(address: string, field?: string): RequestError {
  try {
    parseAddress(address, field);
  } catch (error) {
    return error as RequestError;
  }
  throw new Error(`${address} was taken`);
}

test("every spelling of an address is stored in one form, which parses to itself", () => {
  const address = parseAddress("phone:+55 11 99999 1111");

  assert.deepEqual(address, { channel: "phone", identifier: "5511999991111" });
  assert.deepEqual(parseAddress(formatAddress(address)), address);
});

test("only the first colon separates the channel from the identifier", () => {
  assert.equal(refusal("chat:a:b").code, "VALIDATION_ERROR");
  assert.equal(formatAddress(parseAddress("chat:a-b")), "chat:a-b");
});

test("the error for an unknown or missing channel lists the channels", () => {
  for (const address of ["pigeon:7", "+5511999991111", ":7", ""]) {
    const error = refusal(address, "addresses.3");
    assert.match(error.message, /^addresses\.3 .*phone, chat\.$/);
    assert.deepEqual(error.details, { field: "addresses.3" });
  }
});

test("the hub's own channel is refused", () => {
  assert.match(refusal("app:7").message, /address of the channel app: every user has one/);
});

test("refuses an identifier that is too long, or has control characters or half a character", () => {
  for (const identifier of ["a".repeat(201), "a\0b", "a\nb", "\ud800", ""]) {
    assert.match(refusal(`chat:${identifier}`).message, /not an address of the channel chat/);
  }
  assert.equal(parseAddress(`chat:${"a".repeat(200)}`).identifier.length, 200);
});

test("the name of a channel cannot be a property of Object.prototype", () => {
  assert.equal(refusal("constructor:7").code, "VALIDATION_ERROR");
});
