import { spawn } from "node:child_process";

interface Watchdog {
  /** Runs the script now. */
  end(): void;
  /** Ends the watchdog without running the script. */
  cancel(): void;
}

/** How a watchdog shows in the list of processes. */
export const watchdogName = "chat4all-watchdog";

/**
 * Runs a shell script, with the folder as `$1`, as soon as this process ends, also by `kill -9`: the end of its input is
 * what the script waits for first, by `cat`. Then it stops the server of the folder and tidies up.
 */
export function startWatchdog(folder: string, script: string): Watchdog {
  if (process.platform === "win32") return { end() {}, cancel() {} };
  const child = spawn("/bin/sh", ["-c", script, watchdogName, folder], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
  return {
    end: () => child.stdin.end(),
    cancel() {
      child.kill("SIGKILL");
      child.stdin.destroy();
    },
  };
}
