import type { NewRecord, Outbox } from "./bus.ts";

/** FNV-1a over UTF-16 code units, the same in every process and engine. */
export function partitionOf(key: string, partitions: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i += 1) {
    hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  }
  return (hash >>> 0) % partitions;
}

export function outboxOf(records: readonly NewRecord[], partitions: number): Outbox {
  const lines = new Map<number, string[]>();
  for (const { key, value } of records) {
    const partition = partitionOf(key, partitions);
    const line = JSON.stringify([key, value]);
    const known = lines.get(partition);
    if (known === undefined) lines.set(partition, [line]);
    else known.push(line);
  }
  const groups = [...lines.values()];
  return {
    partitions: [...lines.keys()],
    counts: groups.map((group) => group.length),
    batches: groups.map((group) => `[${group.join(",")}]`),
  };
}
