/** Milliseconds of a clock that all processes of this machine share, so that times of two of them can be compared. */
export function sharedNow(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
