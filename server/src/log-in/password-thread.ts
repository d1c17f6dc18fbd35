/** Runs in a thread of its own: see `openPasswordThread`. */
import { readlinkSync } from "node:fs";
import { setPriority } from "node:os";
import { parentPort } from "node:worker_threads";
import { hashSync, verifySync } from "@node-rs/argon2";
import type { PasswordAnswer, PasswordWork } from "./password-threads.ts";

/** Argon2id, 19 MiB, 2 passes, 1 lane. Source: OWASP Password Storage Cheat Sheet. Argon2id is the library's default. */
const cost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

/** A well-formed hash of nothing that anyone knows. */
const nobodysHash = `$argon2id$v=19$m=${cost.memoryCost},t=${cost.timeCost},p=${cost.parallelism}$Y2hhdDRhbGwtbm9ib2R5$${"A".repeat(43)}`;

/** 0 is usual, 19 is the least: who logs in can wait a little, while everybody else's requests cannot. */
const niceness = 10;

const port = parentPort!;
lowerPriority();
port.on("message", (work: PasswordWork) => port.postMessage(answer(work)));

function answer(work: PasswordWork): PasswordAnswer {
  try {
    if (work.kind === "hash") return { hashed: hashSync(work.password, cost) };
    const isRight = verifySync(work.hashed ?? nobodysHash, work.password);
    return { isRight: isRight && work.hashed !== null };
  } catch (error) {
    // Tells of the hash's form; neither hash nor password is in it.
    return { failure: (error as Error).message };
  }
}

/** Linux gives each thread a priority of its own, known by its id. Elsewhere the thread stays what it is. */
function lowerPriority(): void {
  try {
    const threadId = Number(readlinkSync("/proc/thread-self").split("/").at(-1));
    setPriority(threadId, niceness);
  } catch {
    // Not this system, or not allowed.
  }
}
