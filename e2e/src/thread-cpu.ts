/** CPU time of this thread so far, in milliseconds: what others do with the processor meanwhile is not in it. */
export function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}
