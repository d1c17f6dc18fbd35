import * as kind from "../lib/env-kinds.ts";
import type { EnvReader } from "../lib/env-reader.ts";

/** The platform simulator: one that runs already, one that this process starts, or none. */
export function readSimulator(read: EnvReader, { isWanted }: { isWanted: boolean }) {
  const url = read.optional(
    "SIMULATOR_URL",
    kind.webUrl,
    "none",
    "A running platform simulator to use instead of starting one.",
  );
  const port = read.value(
    "SIMULATOR_PORT",
    kind.integer(0, 65_535),
    "8090",
    "Where the platform simulator listens; it runs when DATABASE_URL is unset or ROLES names it.",
  );
  const enforcesWindow = read.value(
    "SIMULATOR_ENFORCE_WINDOW",
    kind.oneOf("true", "false"),
    "true",
    "Whether people must write to the simulated accounts first, as on the real platforms.",
  );
  return {
    /** Of a simulator that runs already, else `null`. */
    url,
    isEnabled: url === null && isWanted,
    port,
    enforcesWindow: enforcesWindow === "true",
  };
}
