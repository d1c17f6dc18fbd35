/** What `runLimitedProcess` must stop: `node misbehaving-process.ts <deed>`, one of `deeds`. */
import { execFileSync } from "node:child_process";
import { lookup } from "node:dns/promises";
import { readFileSync, readSync, writeFileSync, writeSync } from "node:fs";
import { connect } from "node:net";
import { getPriority } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { inputFd, type Output, runLimited } from "../lib/limited-process-child.ts";

const deeds: Record<string, (output: Output, argument: string) => Promise<unknown> | unknown> = {
  read: () => {
    const bytes = Buffer.alloc(100);
    return bytes.toString("utf8", 0, readSync(inputFd, bytes, 0, bytes.length, 0));
  },
  environment: () => Object.keys(process.env).filter((name) => name !== "PWD"),
  priority: () => getPriority(),
  fetch: (_, url) => attempt(() => fetch(url)),
  socket: (_, port) =>
    attempt(() => new Promise((resolve, reject) => connect(Number(port)).on("connect", resolve).on("error", reject))),
  "name server": () => attempt(() => lookup("localhost")),
  "another file": (_, path) => attempt(() => readFileSync(path)),
  "a new file": (_, path) => attempt(() => writeFileSync(path, "")),
  program: () => attempt(() => execFileSync(process.execPath, ["--version"])),
  thread: async () => {
    const { Worker } = await import("node:worker_threads");
    return attempt(() => new Worker("", { eval: true }));
  },
  "allocate buffers": ({ report }) => {
    for (const kept = []; ; report(kept.length)) kept.push(Buffer.alloc(4 * 1024 * 1024, 1));
  },
  "hold buffers": async (_, mebibytes) => {
    const kept = Array.from({ length: Number(mebibytes) }, () => Buffer.alloc(1024 * 1024, 1));
    await delay(2 ** 31 - 1);
    return kept;
  },
  "hold objects": async (_, mebibytes) => {
    const kept = Array.from({ length: Number(mebibytes) }, () => new Array(128 * 1024).fill(0.5));
    await delay(2 ** 31 - 1);
    return kept;
  },
  "allocate at once": () => Buffer.alloc(4 * 1024 * 1024 * 1024).length,
  "allocate objects": ({ report }) => {
    for (const kept: object[] = []; ; ) {
      kept.push({ number: kept.length });
      if (kept.length % 100_000 === 0) report(kept.length);
    }
  },
  spin: ({ report }) => {
    for (let count = 0; ; count += 1) if (count % 1_000_000 === 0) report(count);
  },
  "spin silently": ({ report }) => {
    report("started");
    for (;;);
  },
  wait: async ({ report }) => {
    report("started");
    await delay(2 ** 31 - 1);
  },
  flood: ({ write }) => {
    for (const text = "x".repeat(64 * 1024); ; ) write(text);
  },
  "endless line": () => {
    for (const text = "x".repeat(64 * 1024); ; ) writeSync(3, text);
  },
  "malformed message": () => writeSync(3, "}\n"),
  crash: () => process.abort(),
  throw: () => {
    throw new Error("This is the complaint.");
  },
};

await runLimited(async (output) => {
  const [deed = "", argument = ""] = process.argv.slice(2);
  output.report({ result: await deeds[deed]!(output, argument) });
  output.write(`${deed} is done: ✓`);
});

async function attempt(forbidden: () => unknown): Promise<string> {
  try {
    await forbidden();
    return "allowed";
  } catch (error) {
    const { code, cause } = error as NodeJS.ErrnoException;
    return code ?? (cause as NodeJS.ErrnoException | undefined)?.code ?? String(error);
  }
}
