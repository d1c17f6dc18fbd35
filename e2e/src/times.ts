/** Bodies of platforms and objects of clients: their times have any form. */
const foreign = ["metadata", "payload", "exchanges"];
/** Bytes. */
const isSize = /^(size|part_size|limit|quota)$/;
const isTime = /^(at|timestamp)$|_(at|until|since)$/;
const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/** The times in what a hub sends that are not ISO 8601 in UTC with milliseconds; `timestamp` of NEW_MESSAGE is a number. */
export function wrongTimes(value: unknown, path: string): string[] {
  const name = path.split(".").at(-1)!;
  if (typeof value === "object" && value !== null) {
    if (foreign.includes(name)) return [];
    const isNewMessage = "type" in value && value.type === "NEW_MESSAGE";
    return Object.entries(value).flatMap(([key, inner]) => {
      const isRight = isNewMessage && key === "timestamp" && typeof inner === "number";
      return isRight ? [] : wrongTimes(inner, `${path}.${key}`);
    });
  }
  const isWrong = isTime.test(name)
    ? value !== null && !iso.test(String(value))
    : typeof value === "number" && value > 1e9 && !isSize.test(name);
  return isWrong ? [`${path}: ${value}`] : [];
}
