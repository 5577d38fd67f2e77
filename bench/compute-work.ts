/** What the threads of the bench `compute` run. */

export function empty(): void {}

/** Computes for `ms`. */
export function burn(ms: number): number {
  const until = performance.now() + ms
  let x = 1
  while (performance.now() < until) x = Math.sqrt(x + 1)
  return x
}
