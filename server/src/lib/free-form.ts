interface ValueLimits {
  readonly maxBytes: number;
  readonly maxValues: number;
  readonly maxDepth: number;
}

/** The end of a sentence. Counts each character as one byte: the exact size is known only when JSON is written. */
export function findExcess(value: unknown, { maxBytes, maxValues, maxDepth }: ValueLimits): string | null {
  let bytes = 0;
  let values = 0;

  function visit(inside: unknown, depth: number): string | null {
    if (typeof inside === "string") bytes += inside.length + 2;
    else if (inside === null || typeof inside !== "object") bytes += 1;
    else if (depth === maxDepth) return `is nested more than ${maxDepth} deep`;
    else {
      for (const name in inside) {
        values += 1;
        bytes += Array.isArray(inside) ? 1 : name.length + 4;
        const excess = visit((inside as Record<string, unknown>)[name], depth + 1);
        if (excess !== null) return excess;
      }
    }
    if (bytes > maxBytes) return `is longer than ${maxBytes} bytes of JSON`;
    return values > maxValues ? `has more than ${maxValues} fields and elements` : null;
  }

  return visit(value, 0);
}
