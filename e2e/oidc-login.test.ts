import assert from "node:assert/strict";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import type { HubProcess } from "../server/src/testing/hub-process.ts";
import { testsThatNeed } from "../server/src/testing/programs.ts";
import { openBrowser, openProfile } from "./src/browser.ts";
import { adminPassword } from "./src/harness.ts";
import { type HubPlace, openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { type OidcProvider, startOidcProvider } from "./src/oidc-provider.ts";

const { before, test } = testsThatNeed("chromium");

const people = {
  ana: { email: "ana@example.com", email_verified: true, name: "Ana Lima", preferred_username: "ana.lima" },
  bia: { email: "bia@example.com", email_verified: false, name: "Bia", preferred_username: "bia" },
};

const cleanUp = closeAfterTests();
let hub: string;
let place: HubPlace;
let process: HubProcess;
let provider: OidcProvider;
let browser: Browser;

before(async () => {
  place = cleanUp.use(await openHubPlace());
  // Another site than the provider's, so that cookies have to cross.
  hub = `http://localhost:${place.port}`;
  provider = cleanUp.use(await startOidcProvider(`${hub}/auth/oauth/acme/callback`, people));
  process = await startHubProcess(place, {
    PUBLIC_URL: hub,
    OIDC_ACME_ISSUER: provider.issuer,
    OIDC_ACME_CLIENT_ID: provider.clientId,
    OIDC_ACME_CLIENT_SECRET: provider.clientSecret,
    LOG_LEVEL: "debug",
  });
  browser = cleanUp.adopt(await openBrowser(), (opened) => opened.close());
});

interface Session {
  access_token: string;
  user_id: string;
}

/** A person with a browser of their own. */
async function openPerson(): Promise<{ context: BrowserContext; page: Page }> {
  const context = await openProfile(browser);
  return { context, page: await context.newPage() };
}

/** Through the provider's own pages: who one is, and that the hub may know. */
async function logInAtProvider(page: Page, name: string): Promise<void> {
  await page.locator("input[name=login]").fill(name);
  await page.locator("input[name=password]").fill("any will do");
  await page.getByRole("button", { name: "Sign-in" }).click();
  await page.getByRole("button", { name: "Continue" }).click();
}

async function shownBy<T>(page: Page): Promise<T> {
  await page.waitForURL((url) => url.pathname.endsWith("/callback"));
  return JSON.parse(await page.locator("body").innerText()) as T;
}

async function whoIs(token: string) {
  const answer = await fetch(`${hub}/v1/me`, { headers: { authorization: `Bearer ${token}` } });
  return (await answer.json()) as { username: string; email: string; display_name: string; user_id: string };
}

test("a person logs in through the provider's pages, and is the same user the next time", async () => {
  const { page, context } = await openPerson();
  await page.goto(`${hub}/auth/oauth/acme`);
  assert.ok(page.url().startsWith(provider.issuer));
  await logInAtProvider(page, "ana");
  const session = await shownBy<Session>(page);
  const me = await whoIs(session.access_token);
  assert.deepEqual([me.username, me.email, me.display_name], ["ana.lima", "ana@example.com", "Ana Lima"]);
  const cookies = await context.cookies(hub);
  assert.deepEqual(
    cookies.filter(({ name }) => name.startsWith("c4a")),
    [],
    "the cookie is gone",
  );

  const other = await openPerson();
  await other.page.goto(`${hub}/auth/oauth/acme`);
  await logInAtProvider(other.page, "ana");
  assert.equal((await shownBy<Session>(other.page)).user_id, session.user_id);
});

test("a page of the hub exchanges a code for its tokens, and no token is in a URL or in the log", async () => {
  const { page } = await openPerson();
  const addresses: string[] = [];
  page.on("request", (request) => addresses.push(request.url()));
  await page.goto(`${hub}/auth/oauth/acme?return_to=${encodeURIComponent("/docs?from=log-in")}`);
  await logInAtProvider(page, "ana");
  await page.waitForURL((url) => url.pathname.startsWith("/docs"));
  const code = new URL(page.url()).searchParams.get("log_in_code");
  const exchange = (given: string | null) =>
    page.evaluate(async (sent) => {
      const answer = await fetch("/auth/oauth/exchange", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ code: sent }),
      });
      return { status: answer.status, body: (await answer.json()) as { access_token: string; refresh_token: string } };
    }, given);
  const { status, body } = await exchange(code);
  assert.equal(status, 200);
  assert.equal((await whoIs(body.access_token)).username, "ana.lima");
  assert.equal((await exchange(code)).status, 401);
  const providerCodes = addresses.flatMap((address) => new URL(address).searchParams.get("code") ?? []);
  assert.ok(providerCodes.length > 0);
  const log = process.stdout() + process.stderr();
  for (const secret of [body.access_token, body.refresh_token]) {
    assert.ok(addresses.every((address) => !address.includes(secret)));
    assert.ok(!log.includes(secret));
  }
  for (const secret of [...providerCodes, code!, provider.clientSecret]) assert.ok(!log.includes(secret));
});

test("an intercepted callback works in no other browser, and only once in its own", async () => {
  const { page, context } = await openPerson();
  await page.goto(`${hub}/auth/oauth/acme`);
  await page.locator("input[name=login]").fill("ana");
  await page.locator("input[name=password]").fill("any will do");
  await page.getByRole("button", { name: "Sign-in" }).click();
  // What "Continue" does, up to the last redirect, which is not followed.
  const confirm = await page.locator("form").getAttribute("action");
  const consent = { form: { prompt: "consent" }, maxRedirects: 0 };
  const resume = await context.request.post(new URL(confirm!, provider.issuer).href, consent);
  const last = await context.request.get(resume.headers().location!, { maxRedirects: 0 });
  const caught = last.headers().location!;
  assert.ok(caught.startsWith(`${hub}/auth/oauth/acme/callback?code=`));

  const thief = await openPerson();
  assert.equal((await thief.page.goto(caught))?.status(), 401);
  const started = await openPerson();
  await started.page.goto(`${hub}/auth/oauth/acme`);
  assert.equal((await started.page.goto(caught))?.status(), 401, "while its own login is under way");

  assert.equal((await page.goto(caught))?.status(), 200);
  assert.equal((await page.goto(caught))?.status(), 401);
});

test("a cancelled login and an unverified email address are reported", async () => {
  const cancelled = await openPerson();
  await cancelled.page.goto(`${hub}/auth/oauth/acme`);
  await cancelled.page.getByRole("link", { name: "Cancel" }).click();
  const refusal = await shownBy<{ error: { code: string; message: string } }>(cancelled.page);
  assert.deepEqual([refusal.error.code, refusal.error.message], ["FORBIDDEN", "The login was cancelled at acme."]);

  const { page } = await openPerson();
  await page.goto(`${hub}/auth/oauth/acme`);
  await logInAtProvider(page, "bia");
  const { error } = await shownBy<{ error: { code: string; message: string } }>(page);
  assert.equal(error.code, "FORBIDDEN");
  assert.match(error.message, /has not verified your email address/);
});

test("the audit log names the provider by which a session was opened", async () => {
  const logIn = await fetch(`${hub}/auth/token`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username: "admin", password: adminPassword }),
  });
  const { access_token } = (await logIn.json()) as Session;
  const answer = await fetch(`${hub}/v1/audit-log?limit=200`, { headers: { authorization: `Bearer ${access_token}` } });
  const { data } = (await answer.json()) as { data: { action: string; details: Record<string, unknown> }[] };
  assert.ok(data.some(({ action, details }) => action === "session.opened" && details.method === "provider acme"));
  assert.ok(data.some(({ action, details }) => action === "user.registered" && details.provider === "acme"));
});
