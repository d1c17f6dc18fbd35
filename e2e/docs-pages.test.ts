import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import { before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { testsThatNeed } from "../server/src/testing/programs.ts";
import { openRestWithoutHub } from "../server/src/testing/rest-without-hub.ts";
import { openBrowser, openProfile } from "./src/browser.ts";

const { describe } = testsThatNeed("chromium");

/** What a browser may complain about while it shows a page. */
interface Complaints {
  violations: string[];
  errors: string[];
  foreign: string[];
}

describe("the pages of documentation, in a browser that obeys their policy", () => {
  let app: Awaited<ReturnType<typeof openRestWithoutHub>>;
  let browser: Browser;
  let origin: string;
  const opened = closeAfterTests();
  before(async () => {
    app = opened.adopt(await openRestWithoutHub(), (app) => app.close());
    await app.listen({ port: 0, host: "127.0.0.1" });
    origin = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
    browser = opened.adopt(await openBrowser(), (browser) => browser.close());
  });

  async function open(path: string): Promise<{ page: Page; complaints: Complaints; policy: string }> {
    const page = await (await openProfile(browser)).newPage();
    const complaints: Complaints = { violations: [], errors: [], foreign: [] };
    page.on("console", (message) => {
      if (/Content Security Policy|Refused to/i.test(message.text())) complaints.violations.push(message.text());
    });
    page.on("pageerror", (error) => complaints.errors.push(error.message));
    page.on("request", (request) => {
      const { protocol, host } = new URL(request.url());
      if (protocol.startsWith("http") && host !== new URL(origin).host) complaints.foreign.push(request.url());
    });
    const answer = await page.goto(origin + path);
    return { page, complaints, policy: answer?.headers()["content-security-policy"] ?? "" };
  }

  const nothing: Complaints = { violations: [], errors: [], foreign: [] };

  test("/docs lists the operations and opens one", async () => {
    const { page, complaints, policy } = await open("/docs");
    assert.match(policy, /script-src 'self';/);
    const operation = page.locator("#operations-Authentication-logIn");
    await operation.click();
    await page.getByRole("button", { name: "Try it out" }).click();
    await page.getByRole("button", { name: "Execute" }).click();
    await page.locator(".live-responses-table .response-col_status").first().waitFor();
    assert.deepEqual(complaints, nothing);
    await page.close();
  });

  test("/docs lets you choose the file of an upload", async () => {
    const { page, complaints } = await open("/docs");
    await page.locator("#operations-Files-uploadFile").click();
    await page.getByRole("button", { name: "Try it out" }).click();
    await page.locator('#operations-Files-uploadFile input[type="file"]').waitFor();
    assert.deepEqual(complaints, nothing);
    await page.close();
  });

  test("/redoc shows the operations and searches them", async () => {
    const { page, complaints, policy } = await open("/redoc");
    assert.match(policy, /script-src 'self';/);
    await page.getByRole("heading", { name: "Log in" }).first().waitFor();
    await page.getByPlaceholder("Search...").fill("dead letter");
    // Found by a worker, which the policy must let run.
    await page.locator("[role=search]").getByText("Discard a dead letter").waitFor();
    assert.deepEqual(complaints, nothing);
    await page.close();
  });

  test("a script that was injected into a page does not run", async () => {
    const { page, complaints } = await open("/docs");
    // As text, since the browser's own names are unknown here.
    const ran = await page.evaluate(`(() => {
      const script = document.createElement("script");
      script.textContent = "window.ran = true";
      document.head.append(script);
      return window.ran ?? false;
    })()`);
    assert.equal(ran, false);
    assert.equal(complaints.violations.length, 1);
    await page.close();
  });

  test("another page cannot frame them", async () => {
    const page = await (await openProfile(browser)).newPage();
    await page.setContent(`<iframe src="${origin}/docs"></iframe>`);
    const frame = page.frames()[1]!;
    await frame.waitForLoadState();
    assert.match(frame.url(), /^(chrome-error:|about:blank)/);
    await page.close();
  });
});
