import { serve } from "../child.ts";
import { type ProbeOptions, probe } from "./prober.ts";

serve((options: ProbeOptions) => probe(options));
