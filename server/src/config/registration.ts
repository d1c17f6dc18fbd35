import * as kind from "../lib/env-kinds.ts";
import type { EnvReader } from "../lib/env-reader.ts";
import { isLoopbackHost } from "../lib/public-addresses.ts";

/** Whether people without an invitation may register: `open`. `closed` means the same as `invite`. */
type Registration = "open" | "invite" | "closed";

/** By default anyone may register while only this machine can reach the hub; otherwise people need an invitation. */
export function readRegistration(read: EnvReader, host: string): Registration {
  return read.value(
    "REGISTRATION",
    kind.oneOf("open", "invite", "closed"),
    isLoopbackHost(host) ? "open" : "invite",
    "Who may register: open is anyone who reaches the hub, invite only invited people. Default: open while HOST is a loopback address, else invite.",
  );
}
