/** An agent that holds the thread, in every context code of it can run in, until the watchdog has taken its stack. */
import { pbkdf2Sync } from 'node:crypto'
import { readFile } from 'node:fs'
import { agent } from 'vivarium'
import type { Beat } from '../../server/scheduler/beat.ts'

/** Ms after which a hold ends by itself: the watchdog is broken then. */
const HOLD_MS_MAX = 20_000

/** The page of the watchdog of this thread. */
export function theBeat(): Beat {
  const hub = Reflect.get(globalThis, Symbol.for('vivarium.watchdog')) as { watchdog: { beat: Beat } } | undefined
  if (hub === undefined) throw new Error('Nobody watches this thread.')
  return hub.watchdog.beat
}

/** Native code, which nobody can interrupt. */
export function hash(iterations: number): void {
  pbkdf2Sync('a', 'b', iterations, 64, 'sha512')
}

export function holdOn(): void {
  const { beat, taken } = { beat: theBeat(), taken: theBeat().taken }
  const end = performance.now() + HOLD_MS_MAX
  while (beat.taken === taken && performance.now() < end);
}

export const CONTEXTS = ['sync', 'await', 'step', 'timer', 'immediate', 'nextTick', 'microtask', 'file'] as const
export type HoldContext = (typeof CONTEXTS)[number]

export const holder = agent('holder', {
  state: () => ({ held: 0 }),
  on: {
    async hold(ctx, context: HoldContext) {
      if (context === 'await') await Promise.resolve()
      if (context === 'sync' || context === 'await') holdOn()
      else if (context === 'step') await ctx.step('hold', holdOn)
      else await within(context)
      ctx.state.held += 1
    },
    native: (_ctx, iterations: number) => hash(iterations),
    held: (ctx) => ctx.state.held,
  },
})

function within(context: Exclude<HoldContext, 'sync' | 'await' | 'step'>): Promise<void> {
  return new Promise((resolve) => {
    const held = (): void => {
      holdOn()
      resolve()
    }
    if (context === 'timer') setTimeout(held, 1)
    else if (context === 'immediate') setImmediate(held)
    else if (context === 'nextTick') process.nextTick(held)
    else if (context === 'microtask') queueMicrotask(held)
    else readFile(import.meta.filename, held)
  })
}
