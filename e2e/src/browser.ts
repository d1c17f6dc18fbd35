import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

/** Where Chromium is on Debian and its kin; another one is named by the variable. */
const paths = [
  process.env.CHROMIUM_PATH ?? "",
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
];

/** A real browser without a window, that asks nobody for anything but the pages it is sent to. Close it. */
export function openBrowser(): Promise<Browser> {
  const executablePath = paths.find((path) => path !== "" && existsSync(path));
  if (executablePath === undefined) {
    throw new Error("This test needs Chromium: install the package chromium, or set CHROMIUM_PATH.");
  }
  return chromium.launch({
    executablePath,
    args: [
      ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
      ...["--disable-component-update", "--disable-sync"],
    ],
  });
}
