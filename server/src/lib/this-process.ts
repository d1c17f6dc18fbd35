import { hostname } from "node:os";

/** For the log line that says which process has an id. */
export const thisProcess = { host: hostname(), pid: process.pid } as const;
