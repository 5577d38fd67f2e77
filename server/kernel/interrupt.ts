/**
 * The turn in hand is taken from a process that lives on: no end of its incarnation, no signal to anybody.
 *
 * - K2: the epoch rises, so whatever the turn's code still does is ignored, as after a death.
 * - Its message is the first of the mailbox again, and nothing begins until `release`. A process that ends meanwhile
 *   ends as an idle one does; then `release` does nothing.
 */
import type { Kernel } from './kernel.ts'
import type { Process } from './process.ts'

export type Interrupted = {
  /** Nothing else happened to the process meanwhile. */
  holds(): boolean
  release(): void
}

/** The behaviour must have closed the turn. */
export function interrupt(kernel: Kernel, process: Process): Interrupted {
  const { clock } = kernel.ports
  const { current } = process
  process.epoch += 1
  const { epoch } = process
  process.current = null
  process.busy = true
  process.status = 'running'
  process.stats.since = clock.now()
  process.wait = { kind: 'commit', target: null, since: clock.now(), deadline: null, attempt: 1 }
  if (current !== null) process.box().unshift(current)
  const holds = (): boolean => process.alive && process.epoch === epoch && process.current === null
  const release = (): void => {
    if (!holds()) return
    process.busy = false
    process.wait = null
    process.status = 'idle'
    process.stats.since = clock.now()
    kernel.lifecycle.ready(process)
  }
  return { holds, release }
}
