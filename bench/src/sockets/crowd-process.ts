import { serve } from "../child.ts";
import { sharedNow } from "../now.ts";
import { type Crowd, type CrowdOptions, openCrowd } from "./crowd.ts";

export type CrowdOrder =
  | { kind: "open"; options: CrowdOptions }
  | { kind: "reach"; cursor: number }
  | { kind: "cut" }
  | { kind: "reconnect" }
  | { kind: "faults" }
  | { kind: "close" };

let crowd: Crowd | null = null;

serve(async (order: CrowdOrder) => {
  if (order.kind === "open") {
    crowd = openCrowd(order.options);
    const startedAt = sharedNow();
    await crowd.open();
    return (sharedNow() - startedAt) / 1_000;
  }
  if (crowd === null) throw new Error("no client is connected yet");
  switch (order.kind) {
    case "reach":
      return crowd.reach(order.cursor);
    case "cut":
      return crowd.cut();
    case "reconnect":
      await crowd.reconnect();
      return sharedNow();
    case "faults":
      return crowd.faults();
    case "close":
      return crowd.close();
    default:
      return order satisfies never;
  }
});
