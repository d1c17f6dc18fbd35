import pg from "pg";
import { BatcherFull } from "./batcher.ts";
import { lostConnection } from "./postgres.ts";
import { SecretBoxError } from "./secret-box.ts";

/** SQLSTATE classes that the data of a record can cause. A closed list. Source: PostgreSQL 18, appendix A. */
const classesOfData = new Set(["21", "22", "23", "54"]);

/** Classes for which a request gets 503: the same request succeeds when the database is healthy again. */
const classesOfTrouble = new Set(["08", "25", "40", "53", "55", "57", "58"]);

const maxCauses = 10;

/** Whether the record or a bug caused the error: it becomes a dead letter. After any other error it waits. */
export function isRecordFault(error: unknown): boolean {
  const root = outerFault(error);
  return root === null || (root instanceof pg.DatabaseError && classesOfData.has(classOf(root)));
}

export function isDatabaseTrouble(error: unknown): boolean {
  const root = outerFault(error);
  if (root instanceof pg.DatabaseError) return classesOfTrouble.has(classOf(root));
  return root !== null && (lostConnection.test(root.message) || hasSystemCode(root));
}

/** Never the message. */
export function faultCode(error: unknown): string {
  const root = outerFault(error) ?? error;
  if (!(root instanceof Error)) return "UNKNOWN";
  return "code" in root && typeof root.code === "string" ? root.code : lostCode(root);
}

function lostCode(error: Error): string {
  return lostConnection.test(error.message) ? "CONNECTION_LOST" : error.name;
}

function outerFault(error: unknown): Error | null {
  const waiting = [error];
  for (let read = 0; waiting.length > 0 && read < maxCauses; read += 1) {
    const one = waiting.shift();
    if (!(one instanceof Error)) continue;
    if (one instanceof pg.DatabaseError && one.code !== undefined) return one;
    if (one instanceof SecretBoxError || one instanceof BatcherFull) return one;
    if (hasSystemCode(one) || lostConnection.test(one.message)) return one;
    waiting.push(one.cause, ...(one instanceof AggregateError ? one.errors : []));
  }
  return null;
}

function classOf({ code }: pg.DatabaseError): string {
  return code!.slice(0, 2);
}

/** `ECONNREFUSED`, `ENOSPC`, `EAI_AGAIN`: errors of the operating system. `ERR_…` of Node are bugs of the caller. */
function hasSystemCode(error: Error): boolean {
  return "code" in error && typeof error.code === "string" && /^E(?!RR_)[A-Z0-9_]+$/.test(error.code);
}
