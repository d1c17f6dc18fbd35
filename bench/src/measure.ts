import type { Observer } from "./watch/observer.ts";

export interface Row {
  name: string;
  value: number;
  unit: string;
  /** What the same machine did in the same run, in the same unit; null where the goal is a figure. */
  reference: number | null;
  /** `value` ÷ `reference`. */
  ratio: number | null;
  /** What `value`, or `ratio` where the sign ends with ×, must reach; null where nothing was promised. */
  goal: string | null;
  holds: boolean | null;
}

export interface Measure {
  names: readonly string[];
  /** Starts what it needs, measures, checks that nothing was lost, and stops all of it. */
  run(bench: Bench): Promise<Row[]>;
}

export interface Bench {
  progress(line: string): void;
  observer: Observer;
  /** Closed by the one who opened it, and when the bench is interrupted. */
  resources: AsyncDisposableStack;
}

/** A message was lost, repeated or out of order: then no figure counts. */
export class CheckFailed extends Error {
  override readonly name = "CheckFailed";
}

type Figure = { name: string; value: number; unit: string };

/** A figure beside the reference of the same run: it is to be at least so many times it. */
export function atLeastTimes(figure: Figure, reference: number, goal: number): Row {
  const ratio = round(figure.value / reference);
  return {
    ...figure,
    value: round(figure.value),
    reference: round(reference),
    ratio,
    goal: `>= ${goal} ×`,
    holds: ratio >= goal,
  };
}

/** As `atLeastTimes`, where less is better. */
export function atMostTimes(figure: Figure, reference: number, goal: number): Row {
  return { ...atLeastTimes(figure, reference, goal), goal: `<= ${goal} ×`, holds: figure.value / reference <= goal };
}

export function atLeast(figure: Figure, goal: number): Row {
  return { ...alone(figure), goal: `>= ${goal} ${figure.unit}`, holds: figure.value >= goal };
}

/** `reference` is printed beside it; the goal is the figure's. */
export function atMost(figure: Figure, goal: number, reference: number | null = null): Row {
  const beside = reference === null ? {} : { reference: round(reference), ratio: round(figure.value / reference) };
  return { ...alone(figure), ...beside, goal: `<= ${goal} ${figure.unit}`, holds: figure.value <= goal };
}

export function beside(figure: Figure, reference: number): Row {
  return { ...atLeastTimes(figure, reference, 0), goal: null, holds: null };
}

export function alone(figure: Figure): Row {
  return { ...figure, value: round(figure.value), reference: null, ratio: null, goal: null, holds: null };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Three digits that mean something, and no fraction of what is large. */
function round(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}
