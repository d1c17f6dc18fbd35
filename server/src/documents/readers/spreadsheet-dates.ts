/** Whether a number format of OOXML shows a date or a time; `code` is absent for the built-in ones. */
export function isDateFormat(id: number, code: string | undefined): boolean {
  if (code === undefined) return (id >= 14 && id <= 22) || (id >= 45 && id <= 47);
  // Without quoted text, escaped characters, and colours or conditions in brackets; `[h]` is a duration.
  const pattern = code.replaceAll(/"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]/gi, "");
  return /[dmyhs]/i.test(pattern) && !/general/i.test(pattern);
}

/** The date, the time or both of a serial number, as in ISO 8601. Null outside of the years that spreadsheets know. */
export function serialDate(serial: number, startsIn1904: boolean): string | null {
  if (serial < 0 || serial > lastSerial) return null;
  // Day 60 is 29 February 1900, which did not exist; days before it are rare enough to be one off.
  const epoch = startsIn1904 ? Date.UTC(1904, 0, 1) : Date.UTC(1899, 11, 30);
  const date = new Date(epoch + Math.round(serial * secondsOfDay) * 1_000).toISOString();
  const [day, time] = [date.slice(0, 10), date.slice(11, 19)];
  if (serial < 1) return time;
  return time === "00:00:00" ? day : `${day} ${time}`;
}

const secondsOfDay = 86_400;
/** 31 December 9999. */
const lastSerial = 2_958_465;
