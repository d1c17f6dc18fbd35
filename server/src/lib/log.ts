import { type DestinationStream, type Logger, pino } from "pino";

/** Errors are logged without values: those of PostgreSQL and of parsers may repeat a password or a message. */
export function openLogger(level: string, destination: DestinationStream): Logger {
  const serializers = { err: describeError, error: describeError };
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, serializers }, destination);
}

interface DescribedError {
  type: string;
  message: string;
  code?: string;
  constraint?: string;
  table?: string;
  column?: string;
  stack?: string;
  cause?: DescribedError;
}

const deepestCause = 5;

function describeError(error: unknown, depth = 0): DescribedError {
  if (!(error instanceof Error)) return { type: typeof error, message: "something was thrown that is no error" };
  const { code, constraint, table, column, cause } = error as Error & Record<string, unknown>;
  const described: DescribedError = { type: error.name, message: withoutValues(error) };
  for (const [name, value] of Object.entries({ code, constraint, table, column })) {
    if (typeof value === "string") described[name as "code"] = value;
  }
  described.stack = framesOf(error);
  if (cause !== undefined && depth < deepestCause) described.cause = describeError(cause, depth + 1);
  return described;
}

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
