import { type Browser, type BrowserContext, chromium } from "playwright-core";
import { patient } from "../../server/src/testing/patience.ts";
import { programPath } from "../../server/src/testing/programs.ts";

/** How long a step in a page may take, in milliseconds. */
const stepLimitMs = 60_000;

/** A real browser without a window, which makes no background requests. Close it. */
export function openBrowser(): Promise<Browser> {
  const executablePath = programPath("chromium");
  if (executablePath === null) throw new Error('This test needs Chromium: define it with testsThatNeed("chromium").');
  return chromium.launch({
    executablePath,
    timeout: patient(stepLimitMs),
    args: [
      ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
      ...["--disable-component-update", "--disable-sync"],
    ],
  });
}

/** A fresh profile, with no cookies. */
export async function openProfile(browser: Browser): Promise<BrowserContext> {
  const profile = await browser.newContext();
  profile.setDefaultTimeout(patient(stepLimitMs));
  return profile;
}
