import { type DestinationStream, type Logger, pino } from "pino";

/**
 * The hub's log: JSON lines. Errors are told by what is ours in them: those of PostgreSQL, of parsers and of clients carry
 * the values they stumbled over, which can be somebody's password or message.
 */
export function openLogger(level: string, destination: DestinationStream): Logger {
  const serializers = { err: describeError, error: describeError };
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, serializers }, destination);
}

export interface DescribedError {
  type: string;
  message: string;
  code?: string;
  /** Of PostgreSQL: which rule was broken. */
  constraint?: string;
  table?: string;
  column?: string;
  /** Where it was thrown, without the message. */
  stack?: string;
  cause?: DescribedError;
}

/** Causes within causes that are told. */
const deepestCause = 5;

/** What of an error may be written down; anything else that was thrown is told by its type alone. */
export function describeError(error: unknown, depth = 0): DescribedError {
  if (!(error instanceof Error)) return { type: typeof error, message: "something was thrown that is no error" };
  const { code, constraint, table, column, cause } = error as Error & Record<string, unknown>;
  const told: DescribedError = { type: error.name, message: withoutValues(error) };
  for (const [name, value] of Object.entries({ code, constraint, table, column })) {
    if (typeof value === "string") told[name as "code"] = value;
  }
  told.stack = framesOf(error);
  if (cause !== undefined && depth < deepestCause) told.cause = describeError(cause, depth + 1);
  return told;
}

/** A message that quotes its input is told without it. */
function withoutValues(error: Error): string {
  if (error instanceof SyntaxError) return "the text is not what was expected";
  const { code } = error as { code?: unknown };
  // Class 22, data exceptions: `invalid input syntax for type uuid: "…"`. Source: PostgreSQL 18, appendix A.
  if (typeof code === "string" && /^22[0-9A-Z]{3}$/.test(code)) return error.message.split(/[:"]/, 1)[0]!.trim();
  return error.message;
}

function framesOf({ stack = "" }: Error): string {
  return stack
    .split("\n")
    .filter((line) => /^ {4}at /.test(line))
    .map((line) => line.trim())
    .join("\n");
}
