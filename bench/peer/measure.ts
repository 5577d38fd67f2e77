/**
 * The measurement itself: warm, then lone runs, then the loaded window, then the check against the store.
 *
 * - The lone runs come before the load, so that no checkpoint or compaction of a loaded window falls into them.
 * - A run that began in the window counts when it ended after it too, and the window is as long as it really was.
 */
import { forMs, median } from '../stage.ts'
import type { Plan, Round, Side } from './side.ts'

export const LANES = 1_000
export const STEPS = 10
/** Lone runs that are thrown away: the process comes from a thousand runs at once. */
const LONE_WARM_RUNS = 20

export async function measure(side: Side, { warmMs, loneMs, loadedMs }: Plan): Promise<Round> {
  const warm = await forMs(warmMs, LANES, async (lane) => side.run(STEPS, lane))
  for (let i = 0; i < LONE_WARM_RUNS; i++) await side.run(STEPS, 0)
  const lone: number[] = []
  await forMs(loneMs, 1, async () => {
    const startedAt = performance.now()
    await side.run(STEPS, 0)
    lone.push((performance.now() - startedAt) / STEPS)
  })
  const before = process.cpuUsage()
  const loaded = await forMs(loadedMs, LANES, async (lane) => side.run(STEPS, lane))
  const { user, system } = process.cpuUsage(before)
  const expected = (warm.count + LONE_WARM_RUNS + lone.length + loaded.count) * STEPS
  const recorded = await side.recorded()
  if (recorded !== expected) throw new Error(`Finished runs have ${expected} steps, the store holds ${recorded}.`)
  return {
    stepsPerSecond: (loaded.count * STEPS) / (loaded.ms / 1_000),
    loneStepMs: median(lone),
    nodeCores: (user + system) / 1_000 / loaded.ms,
  }
}
