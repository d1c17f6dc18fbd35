import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

// Hubs in this process clear the flag again.
setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

/** Of this process, without what is unreferenced. */
export async function memoryInUse(): Promise<NodeJS.MemoryUsage> {
  collectGarbage();
  await delay(0);
  collectGarbage();
  return process.memoryUsage();
}
