import { cursorPattern } from "../../../contract/src/events.ts";
import { addressPattern, channelPattern } from "../../../contract/src/people.ts";
import { lineFormat, uuidPattern, visibleFormat } from "../../../contract/src/schemas.ts";
import { usernamePattern } from "../../../contract/src/users.ts";

/** What a text must be, by the format or the pattern of its schema, to complete "… must be". */
const forms = new Map<string, string>([
  ["date-time", "a date and time such as 2026-11-20T12:00:00Z"],
  ["email", "an e-mail address such as ana@example.com"],
  [lineFormat, "one line of text that is not blank"],
  [visibleFormat, "a text with at least one visible character"],
  ["^[^\\x00-\\x1f\\x7f-\\x9f]+$", "one line of text that is not blank"],
  [uuidPattern, "a UUID"],
  [addressPattern, "an address, written channel:identifier"],
  [usernamePattern, "3 to 50 of a–z, 0–9, dot, dash and underscore, beginning with a letter or digit"],
  [channelPattern, "the name of a channel, in lower-case letters"],
  ["^[A-Za-z0-9_-]+$", "a next_cursor of this list"],
  [cursorPattern, "a cursor of the feed, from HELLO, an event or GET /v1/events"],
  ["^[\\x20-\\x7e]{1,255}$", "1 to 255 printable ASCII characters"],
  ["^[0-9]{6}$", "six digits"],
  ["^[a-z0-9_]{1,50}$", "the name of a log-in provider"],
  ["^v\\d{1,3}\\.\\d{1,3}$", "a version such as v23.0"],
]);

export function wantedForm(formatOrPattern: string): string | null {
  return forms.get(formatOrPattern) ?? null;
}
