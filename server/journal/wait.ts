/**
 * Durable waits: open requests of a turn that nothing in memory has to keep alive. A sleep, a receive, a call of a
 * durable agent, the result of a started operation, an external step that was handed out: each ends by its recorded
 * deadline, by a row, or by both, on whatever node that happens.
 *
 * - W1: a deadline is an instant of the store's clock, recorded once (`due`). A replay waits for what is left of it.
 * - A turn whose every open request is such a wait may leave memory (parking.ts).
 * - The wait that ends first is the one that rows show.
 */
import type { Wait } from '../../shared/snapshot.ts'
import type { Timer } from '../kernel/clock-port.ts'
import type { DurableRecord } from './record.ts'
import type { Turn } from './turn.ts'

/** Ms between two looks at the clock of the store while a deadline is further away. Well below what a host's timer can
 *  express, and short enough for a clock that was set to be noticed. */
const LOOK_MS = 3_600_000

/** A recorded deadline, and when the request was made. */
export type Due = { readonly due: number; readonly since: number }

export type DurableWait = {
  readonly view: Wait
  /** Operations of messages that end it; `*` is any. */
  readonly takes: readonly string[]
  /** The wait is over, or nobody waits any more. */
  end(): void
}

const NOTHING: readonly string[] = []

/** Registers a wait and calls `late` once its deadline has passed. */
export function startWait(
  turn: Turn,
  view: Wait,
  late: (() => void) | null,
  takes: readonly string[] = NOTHING,
): DurableWait {
  const { record, process, ports } = turn
  let timer: Timer | null = null
  const wait: DurableWait = {
    view,
    takes,
    end: () => {
      timer?.cancel()
      if (!record.waits.delete(wait)) return
      if (process.wait === view) process.wait = firstWait(record)
    },
  }
  const { deadline } = view
  const look = (): void => {
    const left = deadline === null ? 0 : deadline - (ports.clock.now() + ports.clockOffset())
    if (left <= 0) late?.()
    else timer = ports.clock.after(Math.min(left, LOOK_MS), look)
  }
  record.waits.add(wait)
  process.wait = firstWait(record)
  if (turn.pending === record.waits.size) turn.quiet?.()
  if (deadline !== null && late !== null) {
    const left = deadline - (ports.clock.now() + ports.clockOffset())
    timer = ports.clock.after(Math.min(Math.max(0, left), LOOK_MS), look)
  }
  return wait
}

/** Stores the deadline of a request, once. */
export function recordDue(turn: Turn, key: string, { due, since }: Due): void {
  if (turn.dueOf(key) !== undefined) return
  turn.append({ k: 'due', turn: turn.id, key, due, at: since }, {}, () => turn.ports.crash.hit('wait:due-stored'))
}

/** The wait with the earliest deadline; the oldest where none has one. */
export function firstWait(record: Pick<DurableRecord, 'waits'>): Wait | null {
  let first: Wait | null = null
  for (const { view } of record.waits) {
    if (first === null || (view.deadline ?? Number.POSITIVE_INFINITY) < (first.deadline ?? Number.POSITIVE_INFINITY))
      first = view
  }
  return first
}

export function endAllWaits(record: Pick<DurableRecord, 'waits'>): void {
  for (const wait of record.waits) wait.end()
}
