import assert from "node:assert/strict";
import { test } from "node:test";
import { startTestSmtp } from "../testing/test-smtp.ts";
import type { Clock } from "./clock.ts";
import { type Mail, openMailer, queueSize, triesPerMail } from "./mailer.ts";
import { Secret } from "./secret.ts";

/** Pauses are over at once, and are noted. */
function hurriedClock() {
  const pauses: number[] = [];
  const clock: Clock = {
    now: () => 0,
    elapsed: () => 0,
    after(delayMs, callback) {
      pauses.push(delayMs);
      const immediate = setImmediate(callback);
      return () => clearImmediate(immediate);
    },
  };
  return { clock, pauses };
}

function open(url: string | null, clock = hurriedClock().clock) {
  const lines: string[] = [];
  const write = (fields: object, message: string) => void lines.push(JSON.stringify({ ...fields, message }));
  const log = { info: write, warn: write, error: write };
  const mailer = openMailer({ url: url === null ? null : new Secret(url), from: "Hub <hub@hub.test>", clock, log });
  return { mailer, lines };
}

const mail: Mail = { kind: "test", to: "ana@example.com", subject: "Olá", text: "Token: abc\n\n.\nthe end\n" };

test("an email reaches the server as it was written, from the address of the configuration", async () => {
  await using smtp = await startTestSmtp();
  const { mailer } = open(smtp.url);
  await using _ = mailer;
  assert.equal(mailer.send(mail), true);
  await mailer.idle();
  const [got] = smtp.mails;
  assert.deepEqual([got!.from, got!.to], ["hub@hub.test", ["ana@example.com"]]);
  assert.match(got!.raw, /^Subject: =\?UTF-8\?/m);
  assert.ok(got!.text.replaceAll("\r\n", "\n").startsWith(mail.text));
});

test("retries an email that is refused for now, with longer pauses, and logs nothing of its content", async () => {
  await using smtp = await startTestSmtp({ refuse: triesPerMail - 1 });
  const { clock, pauses } = hurriedClock();
  const { mailer, lines } = open(smtp.url, clock);
  await using _ = mailer;
  mailer.send(mail);
  await mailer.idle();
  assert.equal(smtp.mails.length, 1);
  assert.deepEqual(pauses, [2_000, 30_000]);
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)),
    [1, 2].map((tries) => ({
      mail: "test",
      tries,
      code: "EMESSAGE",
      response_code: 451,
      message: "an email will be tried again",
    })),
  );
});

test("after the last try an email is given up, and the next one goes", async () => {
  await using smtp = await startTestSmtp({ refuse: triesPerMail });
  const { mailer, lines } = open(smtp.url);
  await using _ = mailer;
  mailer.send(mail);
  mailer.send({ ...mail, to: "bia@example.com" });
  await mailer.idle();
  assert.deepEqual(
    smtp.mails.map(({ to }) => to[0]),
    ["bia@example.com"],
  );
  assert.match(lines.at(-1)!, /an email could not be sent/);
  assert.doesNotMatch(lines.join(), /ana@|abc|Olá/);
});

test("an unreachable server blocks no caller, and the queue has a limit", async () => {
  const { clock } = hurriedClock();
  const { mailer, lines } = open("smtp://127.0.0.1:1", { ...clock, after: () => () => {} });
  await using _ = mailer;
  const sent = [mailer.send(mail)];
  await new Promise(setImmediate);
  for (let i = 0; i <= queueSize; i += 1) sent.push(mailer.send(mail));
  // The first has left the queue; the last found it full.
  assert.deepEqual([sent.filter(Boolean).length, sent.at(-1)], [queueSize + 1, false]);
  assert.match(lines[0]!, /dropped/);
});

test("a password is sent to this machine, and elsewhere only over an encrypted connection", async () => {
  await using smtp = await startTestSmtp({ login: { user: "hub", password: "p@ss" } });
  const { mailer } = open(`smtp://hub:p%40ss@127.0.0.1:${smtp.port}`);
  await using _ = mailer;
  mailer.send(mail);
  await mailer.idle();
  assert.equal(smtp.mails.length, 1);
  // The same server by another name: not known to be this machine.
  const { mailer: far, lines } = open(`smtp://hub:p%40ss@localhost.:${smtp.port}`);
  await using __ = far;
  far.send(mail);
  await far.idle();
  assert.equal(smtp.mails.length, 1);
  assert.match(lines[0]!, /ETLS|EDNS|ESOCKET/);
});

test("without a server nothing is sent, and send returns false", async () => {
  const { mailer } = open(null);
  assert.deepEqual([mailer.isOn, mailer.send(mail)], [false, false]);
  await mailer.idle();
});
