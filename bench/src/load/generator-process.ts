import { serve } from "../child.ts";
import { type Load, type LoadOrder, runLoad } from "./run-load.ts";

export type GeneratorOrder = { kind: "run"; load: LoadOrder } | { kind: "allow"; messages: number };

let current: Load | null = null;

serve((order: GeneratorOrder) => {
  if (order.kind === "allow") {
    current?.allow(order.messages);
    return null;
  }
  current = runLoad(order.load);
  return current.result;
});
