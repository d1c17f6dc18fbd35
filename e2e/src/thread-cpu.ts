/** CPU time of this thread so far, in milliseconds, without that of others. */
export function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}
