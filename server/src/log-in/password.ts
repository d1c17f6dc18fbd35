import { randomInt } from "node:crypto";
import { availableParallelism } from "node:os";
import type { Origin } from "../audit/audit.ts";
import { RequestError } from "../errors.ts";
import { FairLine, type LineLimits, type Source } from "../lib/fair-line.ts";
import { addressKey } from "../lib/rate-limits/address-key.ts";
import type { PasswordHashing, Requester } from "../users/users.ts";
import { openPasswordThreads, type PasswordWork } from "./password-threads.ts";

/** Slow on purpose. Work beyond the threads waits in a bounded queue, by turns (`FairLine`), or is refused. */
export interface PasswordHasher extends PasswordHashing {
  hash(password: string, requester?: Requester): Promise<string>;
  verify: VerifyPassword;
  /** Waits for the source's turn and then runs `work`, which may check one password with the given function. */
  inTurn<T>(source: Source, work: (verify: VerifyPassword) => Promise<T>): Promise<T>;
  /** Throws OVERLOADED when the queue is full for this IP address. Call it before any other work. */
  requireRoom(address: string): void;
}

export function sourceOf(origin: Origin, account: string): Source {
  return { address: origin.ip === null ? "" : addressKey(origin.ip), account };
}

const ownSource: Source = { address: "", account: "" };

export const passwordLine: LineLimits = { total: 100, perAddress: 50, perAccount: 10 };

/** A null hash takes as long and never matches: for an unknown user, so that time does not reveal it. */
type VerifyPassword = (hashed: string | null, password: string) => Promise<boolean>;

interface PasswordHasherOptions {
  /** How many are hashed at the same time; each takes a thread and 19 MiB for about 30 ms. */
  concurrency: number;
  line?: LineLimits;
}

/** Normalises passwords (NFKC), so that every keyboard gives the same. Methods throw OVERLOADED for a full queue. */
export function openPasswordHasher({ concurrency, line = passwordLine }: PasswordHasherOptions): PasswordHasher {
  const ask = openPasswordThreads(concurrency);
  const { inTurn, requireRoom } = limiter(concurrency, new FairLine(line));

  async function verify(hashed: string | null, password: string): Promise<boolean> {
    const answer = await askWell({ kind: "verify", hashed, password: normalized(password) });
    return "isRight" in answer && answer.isRight;
  }

  async function askWell(work: PasswordWork) {
    const answer = await ask(work);
    if ("failure" in answer) throw new Error(`a password could not be hashed: ${answer.failure}`);
    return answer;
  }

  return {
    hash: (password, requester) =>
      inTurn(requester === undefined ? ownSource : sourceOf(requester.origin, requester.account), async () => {
        const answer = await askWell({ kind: "hash", password: normalized(password) });
        return "hashed" in answer ? answer.hashed : "";
      }),
    verify: (hashed, password) => inTurn(ownSource, () => verify(hashed, password)),
    inTurn: (source, work) => inTurn(source, () => work(verify)),
    requireRoom,
  };
}

export function hashingThreads(): number {
  return Math.min(4, Math.max(1, Math.floor(availableParallelism() / 2)));
}

function normalized(password: string): string {
  return password.normalize("NFKC");
}

function limiter(concurrency: number, line: FairLine) {
  let running = 0;
  let refused = 0;

  function requireRoom(address: string): void {
    if (running >= concurrency && !line.hasRoom(address)) throw tooMany();
  }

  function tooMany(): RequestError {
    refused += 1;
    return tooManyLogIns(1 + (refused % maxRetrySeconds));
  }

  async function inTurn<T>(source: Source, work: () => Promise<T>): Promise<T> {
    // Finished work passes its place on, so `running` stays the same.
    if (running < concurrency) running += 1;
    else if (!(await line.enter(source))) throw tooMany();
    const startedMs = performance.now();
    try {
      return await work();
    } finally {
      setTimeout(passOn, Math.min((performance.now() - startedMs) * pauseFactor, maxPauseMs));
    }
  }

  function passOn(): void {
    if (!line.serveNext()) running -= 1;
  }

  return { inTurn, requireRoom };
}

/** How many times as long as its work a place pauses, so that many logins take only a part of the machine. */
const pauseFactor = 2;
const maxPauseMs = 200;

const maxRetrySeconds = 8;

function tooManyLogIns(retryAfterSeconds: number): RequestError {
  const message = "Too many passwords are being checked right now; try again in a moment.";
  return new RequestError("OVERLOADED", message, { retryAfterSeconds });
}

/** Four groups that can be read aloud, such as `tikab-…`: 70 random bits, 23 characters. */
export function readablePassword(): string {
  return Array.from({ length: 4 }, () => [..."cvcvc"].map((kind) => pick(letters[kind as "c" | "v"])).join("")).join(
    "-",
  );
}

const letters = { c: "bcdfghjkmnpqrstvwxyz", v: "aeiou" };

function pick(from: string): string {
  return from[randomInt(from.length)]!;
}
