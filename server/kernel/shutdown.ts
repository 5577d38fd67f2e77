/**
 * Ending children: one in order, many at once.
 *
 * - S30: `kill` ends at once with `killed`; a number of ms asks first and kills when it is over; `infinity` waits.
 * - S31: the supervisor waits for the death itself, so a child that unlinked cannot hang it.
 * - S63: many children of a pool are told at once and share one timer.
 */
import type { Shutdown } from './child.ts'
import { type ExitReason, KILLED, SHUTDOWN } from './exit.ts'
import type { Kernel } from './kernel.ts'
import { Process, type ProcessSpec } from './process.ts'
import { Stats } from './stats.ts'

/** Resolves with the actual exit reason. A durable message in hand goes back without costing an attempt. */
export function shutdownChild(kernel: Kernel, process: Process, shutdown: Shutdown): Promise<ExitReason> {
  return new Promise((resolve) => {
    kernel.lifecycle.whenDead(process, resolve)
    if (!process.alive) return
    if (shutdown === 'kill') return kernel.lifecycle.die(process, KILLED, 'free')
    kernel.lifecycle.requestStop(process, SHUTDOWN, 0)
    if (shutdown === 'infinity' || !process.alive) return
    const timer = kernel.ports.clock.after(shutdown, () => kernel.lifecycle.die(process, KILLED, 'free'))
    kernel.lifecycle.whenDead(process, () => timer.cancel())
  })
}

/** F7: a process that is down from the start, because an operator stopped it in an earlier life of the node: seen,
 *  and it refuses what is sent to it. */
export function placeDown(kernel: Kernel, spec: ProcessSpec & { parent: Process | null }, incarnation = 1): Process {
  const { lifecycle, ports } = kernel
  let process = lifecycle.processes.get(spec.id)
  if (process === undefined) {
    process = new Process(spec, spec.parent, new Stats(ports.clock.now()))
    process.incarnation = Math.max(1, incarnation)
    process.gone = true
    process.status = 'exited'
    process.exit = SHUTDOWN
    lifecycle.processes.set(spec.id, process)
    lifecycle.treeVersion += 1
  }
  process.tie().retired = true
  return process
}

/** Ends all at once; resolves when the last one is dead. */
export function shutdownAll(kernel: Kernel, processes: readonly Process[], shutdown: Shutdown): Promise<void> {
  const { lifecycle } = kernel
  return new Promise((resolve) => {
    let left = 1
    const done = (): void => {
      left -= 1
      if (left > 0) return
      timer?.cancel()
      resolve()
    }
    for (const process of processes) {
      if (process.gone) continue
      left += 1
      lifecycle.whenDead(process, done)
      if (shutdown === 'kill') lifecycle.die(process, KILLED, 'free')
      else lifecycle.requestStop(process, SHUTDOWN, 0)
    }
    const timer =
      typeof shutdown === 'number' && left > 1
        ? kernel.ports.clock.after(shutdown, () => {
            for (const process of processes) lifecycle.die(process, KILLED, 'free')
          })
        : null
    done()
  })
}
