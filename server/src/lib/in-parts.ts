/**
 * The items in order, in parts of at most `most` in the sum of their sizes. A larger item is a part by itself. For
 * statements whose parameters take long to encode.
 */
export function inParts<Item>(items: readonly Item[], sizeOf: (item: Item) => number, most: number): Item[][] {
  const parts: Item[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const item of items) {
    size += sizeOf(item);
    if (size <= most) parts.at(-1)!.push(item);
    else {
      parts.push([item]);
      size = sizeOf(item);
    }
  }
  return parts;
}
