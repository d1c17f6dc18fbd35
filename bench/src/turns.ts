import { moved } from "./movement.ts";

type Sides = Record<string, () => Promise<unknown>>;
/** What each side measured: one figure a pair, in the same order for all sides. */
export type Turns<Of extends Sides> = { [Name in keyof Of]: Awaited<ReturnType<Of[Name]>>[] };

/**
 * Measures by turns, A B B A: what the machine does besides, and what grows with time, affects both sides alike. Each side
 * first has one turn that does not count, unless it is warm.
 */
export async function takeTurns<Of extends Sides>(
  sides: Of,
  pairs: number,
  onPair: (latest: { [Name in keyof Of]: Awaited<ReturnType<Of[Name]>> }, pair: number) => void,
  { areWarm = false } = {},
): Promise<Turns<Of>> {
  const names = Object.keys(sides);
  const turns = Object.fromEntries(names.map((name) => [name, [] as unknown[]]));
  for (let pair = areWarm ? 1 : 0; pair <= pairs; pair += 1) {
    for (const name of pair % 2 === 1 ? names : names.toReversed()) {
      const figure = await sides[name]!();
      moved(`a turn of ${name}`);
      if (pair > 0) turns[name]!.push(figure);
    }
    if (pair === 0) continue;
    const latest = Object.fromEntries(names.map((name) => [name, turns[name]!.at(-1)]));
    onPair(latest as Parameters<typeof onPair>[0], pair);
  }
  return turns as Turns<Of>;
}
