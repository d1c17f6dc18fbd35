/** The entrance of statistics: what a workspace has done in a period. */
export { countHours } from "./count-hours.ts";
export { readStats, type Stats } from "./read-stats.ts";
