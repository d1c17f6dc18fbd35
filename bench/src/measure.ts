import type { Stage, StageKind } from "./hub/stage.ts";
import type { Observer } from "./watch/observer.ts";

export type Range = readonly [least: number, most: number];

export interface Row {
  name: string;
  /** The median of all turns. */
  value: number;
  unit: string;
  range: Range | null;
  /** What the same machine did by turns in the same run, in the same unit; null where the goal is a figure. */
  reference: number | null;
  /** The median of `value` ÷ `reference` over the pairs of turns. */
  ratio: number | null;
  ratio_range: Range | null;
  pairs: number | null;
  /** What `value`, or `ratio` where the sign ends with ×, must reach; null where nothing was promised. */
  goal: string | null;
  holds: boolean | null;
  note: string | null;
}

export interface Measure {
  names: readonly string[];
  /** True for what takes long and few changes touch. */
  onlyWhenNamed?: boolean;
  /** Measures, and checks that nothing was lost. */
  run(bench: Bench): Promise<Row[]>;
}

/** How much is measured. */
export interface Plan {
  pairs: number;
  /** The time of a turn, in milliseconds. Counts follow from it and from the speed of the machine. */
  turnMs: number;
  sockets: number;
  /** `files` only: of one file. */
  fileBytes: number;
  /** `growth` only: the rows of the database. */
  messages: number;
}

export interface Bench {
  progress(line: string): void;
  observer: Observer;
  plan: Plan;
  /** A hub that measures of this kind share. The last one is closed when another kind is asked for. */
  stage(kind: StageKind): Promise<Stage>;
  /** Closed when the measure ends, and when the bench is interrupted. */
  resources: AsyncDisposableStack;
}

/** A message was lost, repeated or out of order: then no figure counts. */
export class CheckFailed extends Error {
  override readonly name = "CheckFailed";
}

type Figures = Pick<Row, "value" | "range" | "reference" | "ratio" | "ratio_range" | "pairs">;
type Goal = { bound: number; isLeast: boolean; ofRatio: boolean };

export const atLeast = (bound: number): Goal => ({ bound, isLeast: true, ofRatio: false });
export const atMost = (bound: number): Goal => ({ bound, isLeast: false, ofRatio: false });
/** Times the reference. */
export const atLeastTimes = (bound: number): Goal => ({ bound, isLeast: true, ofRatio: true });
export const atMostTimes = (bound: number): Goal => ({ bound, isLeast: false, ofRatio: true });

/** Holds when each of the goals does. */
export function row(head: { name: string; unit: string; note?: string }, figures: Figures, ...goals: Goal[]): Row {
  const signs = goals.map(
    ({ bound, isLeast, ofRatio }) => `${isLeast ? ">=" : "<="} ${bound} ${ofRatio ? "×" : head.unit}`,
  );
  const holds = goals.map(({ bound, isLeast, ofRatio }) => {
    const figure = ofRatio ? figures.ratio! : figures.value;
    return isLeast ? figure >= bound : figure <= bound;
  });
  return {
    name: head.name,
    unit: head.unit,
    ...figures,
    goal: goals.length === 0 ? null : signs.join(", "),
    holds: goals.length === 0 ? null : !holds.includes(false),
    note: head.note ?? null,
  };
}

/** One figure, measured once. */
export function once(value: number, reference: number | null = null): Figures {
  const beside = { reference: null, ratio: null, ratio_range: null, pairs: null };
  if (reference === null) return { value: round(value), range: null, ...beside };
  return { ...beside, value: round(value), range: null, reference: round(reference), ratio: round(value / reference) };
}

/** A figure of several turns. */
export function several(values: readonly number[]): Figures {
  return { ...once(median(values)), range: rangeOf(values) };
}

/** A figure beside its reference, measured by turns. */
export function compare(values: readonly number[], references: readonly number[]): Figures {
  const ratios = values.map((value, pair) => value / references[pair]!);
  return {
    value: round(median(values)),
    range: rangeOf(values),
    reference: round(median(references)),
    ratio: round(median(ratios)),
    ratio_range: rangeOf(ratios),
    pairs: ratios.length,
  };
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Between the two nearest values where none is at this place. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const [below, above] = [sorted[Math.floor(place)]!, sorted[Math.ceil(place)]!];
  return below + (above - below) * (place % 1);
}

function rangeOf(values: readonly number[]): Range {
  return [round(Math.min(...values)), round(Math.max(...values))];
}

/** Three significant digits, and no fraction of what is large. */
function round(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}
