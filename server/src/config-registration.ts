import * as kind from "./lib/env-kinds.ts";
import type { EnvReader } from "./lib/env-reader.ts";
import { isLoopbackHost } from "./lib/public-addresses.ts";

/** Whether people who were not invited may become members: `open`. `closed` is another word for `invite`. */
export type Registration = "open" | "invite" | "closed";

/** Where only this machine reaches the hub, whoever does may register; elsewhere people are invited. */
export function readRegistration(read: EnvReader, host: string): Registration {
  return read.value(
    "REGISTRATION",
    kind.oneOf("open", "invite", "closed"),
    isLoopbackHost(host) ? "open" : "invite",
    "Who may register: open is everybody who reaches the hub, invite those who were invited. Default: open while HOST is a loopback address, else invite.",
  );
}
