/** Why the hub ends a socket or a stream, and the close code that says so: 4400 and what HTTP would have answered. */
export const closings = {
  /** The session ended, the credential expired or was revoked: log in or refresh, then resume. */
  credential: { code: 4401, reason: "the credential is not valid any more" },
  /** The caller may not read events any more. */
  forbidden: { code: 4403, reason: "not allowed to read events" },
  /** It did not read what it was sent: resume from the last cursor. */
  slow: { code: 4408, reason: "too slow: more was waiting than is kept" },
  /** It sent nothing, not even a pong, for three heartbeats. */
  silent: { code: 4410, reason: "no sign of life" },
  /** It sent more than it may. */
  flood: { code: 4429, reason: "too many frames" },
  /** The user or the address has as many sockets as it may: close one first. For pages, which cannot read a 429. */
  crowded: { code: 4429, reason: "too many sockets of this user or address" },
  /** The missed events cannot be read: resume from the last cursor. */
  broken: { code: 1011, reason: "events could not be read" },
  /** This process is stopping: connect again, to another. */
  stopping: { code: 1001, reason: "the hub is stopping" },
} as const satisfies Record<string, { code: number; reason: string }>;

export type Closing = keyof typeof closings;
