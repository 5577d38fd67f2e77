/**
 * Events of durable turns. Built only while somebody listens to turns; a turn whose process is killed or parked
 * meanwhile has no end of its own: the event of that death or parking says it.
 */
import type { Turn } from './turn.ts'

/** Runs the turn and tells its beginning and end; the result is handed through unchanged. */
export function reportTurn(turn: Turn, run: () => void | Promise<void>): void | Promise<void> {
  const { ports, process, id, incarnation, envelope } = turn
  if (!ports.watching('turn:stop') && !ports.watching('turn:start')) return run()
  const { op, from, lineage } = envelope
  const of = { id: process.id, incarnation, turn: id, op }
  ports.emit({ kind: 'turn:start', at: ports.clock.now(), ...of, from, traceparent: lineage.traceparent })
  const startedAt = ports.clock.monotonic()
  const stop = (outcome: 'done' | 'failed' | 'cancelled'): void => {
    const durationMs = ports.clock.monotonic() - startedAt
    ports.emit({ kind: 'turn:stop', at: ports.clock.now(), ...of, durationMs, outcome })
  }
  let result: void | Promise<void>
  try {
    result = run()
  } catch (error) {
    stop('failed')
    throw error
  }
  if (result instanceof Promise) {
    result.then(
      () => stop(turn.how === 'cancelled' ? 'cancelled' : 'done'),
      () => stop('failed'),
    )
  } else stop('done')
  return result
}
