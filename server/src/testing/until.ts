/** Asks again and again, without keeping the processor busy, until the condition holds; fails after `withinMs`. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  withinMs: number,
  complaint: string,
): Promise<void> {
  const giveUpAt = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`After ${withinMs} ms: ${complaint}.`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
