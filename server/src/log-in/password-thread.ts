import { parentPort } from "node:worker_threads";
import { hashSync, verifySync } from "@node-rs/argon2";
import { lowerThreadPriority } from "../lib/thread-priority.ts";
import type { PasswordAnswer, PasswordWork } from "./password-threads.ts";

/** Argon2id (the library's default), 19 MiB, 2 passes, 1 lane. Source: OWASP Password Storage Cheat Sheet. */
const cost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

const dummyHash = `$argon2id$v=19$m=${cost.memoryCost},t=${cost.timeCost},p=${cost.parallelism}$Y2hhdDRhbGwtbm9ib2R5$${"A".repeat(43)}`;

/** 0 is normal, 19 is the lowest priority: a login can wait a little, other requests cannot. */
const niceness = 10;

const port = parentPort!;
lowerThreadPriority(niceness);
port.on("message", (work: PasswordWork) => port.postMessage(answer(work)));

function answer(work: PasswordWork): PasswordAnswer {
  try {
    if (work.kind === "hash") return { hashed: hashSync(work.password, cost) };
    const isRight = verifySync(work.hashed ?? dummyHash, work.password);
    return { isRight: isRight && work.hashed !== null };
  } catch (error) {
    return { failure: (error as Error).message };
  }
}
