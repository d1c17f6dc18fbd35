import type { Entry } from "./functions.ts";
import type { Profile } from "./observer.ts";

const listedFunctions = 40;
const listedOwn = 30;
const listedAreas = 20;
const queryLength = 150;

export function formatProfile(profile: Profile): string {
  const { name, messages, seconds, cpu, functions, statements } = profile;
  const perMessage = (us: number) => `${(us / messages).toFixed(1)} µs`;
  const scale: Scale = { sampledUs: functions.busyUs, perMessageUs: cpu.hub / messages };
  const lines = [
    `Profile of ${name}: ${messages} messages in ${seconds.toFixed(1)} s, ${Math.round(messages / seconds)}/s`,
    "",
    "CPU time a message (user and system):",
    ...Object.entries(cpu).map(
      ([part, us]) =>
        `  ${part.padEnd(10)} ${perMessage(us).padStart(10)}   ${percent(us / (seconds * 1e6))} of a core`,
    ),
    "",
    "Hub, by package or folder (shares of its main thread, as CPU time a message):",
    ...list(functions.areas(), listedAreas, scale),
    "",
    "Hub, by function, without what it calls:",
    ...list(functions.self(), listedFunctions, scale),
    "",
    "Hub, by our own function, with what it calls:",
    ...list(functions.within(), listedOwn, scale),
    "",
    "PostgreSQL, by statement (execution only, without parsing, planning and commit):",
    `  ${"µs/message".padStart(10)} ${"calls".padStart(8)} ${"ms/call".padStart(8)} ${"rows/call".padStart(9)} ${"pages".padStart(7)} ${"WAL B/msg".padStart(9)}`,
    ...statements.map(
      ({ calls, totalMs, rows, walBytes, pages, query }) =>
        `  ${((totalMs * 1000) / messages).toFixed(1).padStart(10)} ${String(calls).padStart(8)} ` +
        `${(totalMs / calls).toFixed(3).padStart(8)} ${(rows / calls).toFixed(1).padStart(9)} ` +
        `${String(Math.round(Number(pages))).padStart(7)} ${(walBytes / messages).toFixed(0).padStart(9)}  ` +
        query.replaceAll(/\s+/g, " ").slice(0, queryLength),
    ),
  ];
  return `${lines.join("\n")}\n`;
}

/** Shares of what was sampled, as parts of the CPU time that was counted. */
function list(entries: readonly Entry[], count: number, { sampledUs, perMessageUs }: Scale): string[] {
  return entries.slice(0, count).map(({ name, us }) => {
    const share = us / sampledUs;
    return `  ${percent(share)} ${(share * perMessageUs).toFixed(2).padStart(8)} µs  ${name}`;
  });
}

interface Scale {
  sampledUs: number;
  perMessageUs: number;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1).padStart(5)} %`;
}
