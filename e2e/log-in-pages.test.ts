import assert from "node:assert/strict";
import type { Browser, Page } from "playwright-core";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { freePort } from "../server/src/testing/free-port.ts";
import { testsThatNeed } from "../server/src/testing/programs.ts";
import { startTestSmtp } from "../server/src/testing/test-smtp.ts";
import { until } from "../server/src/testing/until.ts";
import { openBrowser, openProfile } from "./src/browser.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";

const { before, test } = testsThatNeed("chromium");

const cleanUp = closeAfterTests();
let hub: TestHub;
let smtp: Awaited<ReturnType<typeof startTestSmtp>>;
let browser: Browser;

before(async () => {
  const port = await freePort();
  smtp = cleanUp.use(await startTestSmtp());
  const mail = { SMTP_URL: smtp.url, MAIL_FROM: "Chat4All <hub@example.com>" };
  const place = { PORT: String(port), PUBLIC_URL: `http://127.0.0.1:${port}` };
  hub = cleanUp.use(await startTestHub({ env: { ...mail, ...place, REGISTRATION: "closed" } }));
  browser = cleanUp.adopt(await openBrowser(), (opened) => opened.close());
});

async function post(path: string, body: unknown, token?: string) {
  const answer = await fetch(hub.url + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  // biome-ignore lint/suspicious/noExplicitAny: a test asserts on the body, of any type
  return { status: answer.status, body: (text === "" ? null : JSON.parse(text)) as any };
}

/** The link in the last email to this email address. */
function mailedLink(to: string): Promise<string> {
  const textOf = () => smtp.mails.findLast((mail) => mail.to[0] === to)?.text ?? "";
  return until(`an email to ${to} arrives`, () => /^http\S+$/m.exec(textOf())?.[0]);
}

/** Opens a link, and fails for errors in the browser and requests to other hosts. */
async function open(link: string): Promise<Page> {
  const page = await (await openProfile(browser)).newPage();
  page.on("console", (message) => assert.doesNotMatch(message.text(), /Content Security Policy/));
  page.on("request", (request) => {
    assert.ok(request.url().startsWith(hub.url), request.url());
    assert.ok(!request.url().includes("token"), "a token in the URL of a request");
  });
  await page.goto(link);
  return page;
}

test("a user invited by email creates an account on the page of the link, and resets the password on another page", async () => {
  const admin = (await post("/auth/token", { username: "admin", password: "a password for tests" })).body.access_token;
  const invitation = await post("/v1/invitations", { email: "ana@example.com", role: "agent" }, admin);
  assert.deepEqual([invitation.status, invitation.body.mailed], [201, true]);
  const page = await open(await mailedLink("ana@example.com"));
  assert.ok(!page.url().includes("c4i_"), "the token is out of the URL, and so out of the history");
  await page.getByLabel("Username").fill("admin");
  await page.getByLabel("Password").fill("the first password");
  await page.getByRole("button").click();
  await page.getByText("This username is taken: choose another one.").waitFor();
  await page.getByLabel("Username").fill("ana");
  await page.getByLabel("Your name").fill("Ana Lima");
  await page.getByRole("button").click();
  await page.getByText("Your account is made.").waitFor();
  const { status, body } = await post("/auth/token", { username: "ana", password: "the first password" });
  assert.equal(status, 200);

  assert.equal((await post("/auth/password/forgot", { email: "ana@example.com" })).status, 202);
  await until("a second email arrives", () => smtp.mails.length === 2);
  const link = await mailedLink("ana@example.com");
  const reset = await open(link);
  await reset.getByLabel("New password").fill("the second password");
  await reset.getByRole("button").click();
  await reset.getByText("Your new password is set.").waitFor();
  assert.equal((await post("/auth/token", { username: "ana", password: "the second password" })).status, 200);
  const me = await fetch(`${hub.url}/v1/me`, { headers: { authorization: `Bearer ${body.access_token}` } });
  assert.equal(me.status, 401, "the session of before has ended");

  const again = await open(link);
  await again.getByLabel("New password").fill("the third password");
  await again.getByRole("button").click();
  await again.getByText("The token is unknown, was used, or has expired").waitFor();
  for (const secret of [link.split("token=")[1]!, invitation.body.token]) {
    assert.ok(
      hub.log.lines.every((line) => !line.includes(secret)),
      "a token in the log",
    );
  }
});

test("the page of a link without its token shows an error", async () => {
  for (const path of ["/accept-invitation", "/reset-password"]) {
    const page = await open(hub.url + path);
    await page.getByText("This link is not complete").waitFor();
    assert.equal(await page.locator("form").count(), 0);
  }
});
