import { type Browser, chromium } from "playwright-core";
import { programPath } from "../../server/src/testing/programs.ts";

/** A real browser without a window, that asks nobody for anything but the pages it is sent to. Close it. */
export function openBrowser(): Promise<Browser> {
  const executablePath = programPath("chromium");
  if (executablePath === null) throw new Error('This test needs Chromium: begin it with testsThatNeed("chromium").');
  return chromium.launch({
    executablePath,
    args: [
      ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
      ...["--disable-component-update", "--disable-sync"],
    ],
  });
}
