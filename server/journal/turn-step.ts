/**
 * `ctx.step` of a durable turn: waits until everything before it is stored, runs, records, hands over.
 *
 * - The state is read-only while a step's function runs (T5): a change there would be repeated by no replay.
 * - The result is handed over at once; its row leaves with the next commit (T7).
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { errorFromData } from '../../shared/error.ts'
import type { StepInfo, StepOptions } from '../definition/context.ts'
import { handOver } from './bytes.ts'
import { idempotencyKey, runStep } from './step.ts'
import type { Turn } from './turn.ts'

export function stepInTurn(
  turn: Turn,
  name: string,
  fn: (info: StepInfo) => unknown,
  options: StepOptions,
): Promise<unknown> {
  turn.assertOpen()
  const key = turn.key(name, options.key)
  return turn.request(key, () => live(turn, { name, key, fn, options }))
}

/** Entered while a step's function runs, with everything it awaits; its own turn only, not what runs beside it. */
const SCOPE = new AsyncLocalStorage<Turn>()

export function isInStep(turn: Turn): boolean {
  return SCOPE.getStore() === turn
}

type Step = { name: string; key: string; fn: (info: StepInfo) => unknown; options: StepOptions }

async function live(turn: Turn, { name, key, fn, options }: Step): Promise<unknown> {
  const { ports, process } = turn
  await turn.flushed()
  turn.assertOpen()
  const startedAt = ports.clock.monotonic()
  const result = await ports.tracing.step(process, name, () =>
    runStep({
      name,
      idempotencyKey: idempotencyKey(turn.id, turn.open?.branch ?? 0, key),
      options,
      fn: (info) => SCOPE.run(turn, fn, info),
      signal: turn.abort.signal,
      clock: ports.clock,
      random: ports.random,
      onAttempt: (attempt) => onAttempt(turn, name, attempt),
      onRetry: (attempt, delayMs) => onRetry(turn, name, attempt, delayMs),
    }),
  )
  turn.assertOpen()
  process.wait = null
  const failed = 'err' in result.out
  turn.append({ k: 'step', turn: turn.id, key, out: result.out, attempts: result.attempts, at: turn.stamp() })
  emitStop(turn, name, result.attempts, ports.clock.monotonic() - startedAt, failed)
  if ('ok' in result.out) return handOver(result.out.ok)
  throw errorFromData(result.out.err)
}

function onAttempt(turn: Turn, name: string, attempt: number): void {
  const { ports, process } = turn
  const since = ports.clock.now()
  process.wait = { kind: 'step', target: name, since, deadline: null, attempt }
  if (!ports.watching('step:start')) return
  const { id, incarnation } = process
  ports.emit({ kind: 'step:start', at: since, id, incarnation, turn: turn.id, step: name, attempt })
}

function onRetry(turn: Turn, name: string, attempt: number, delayMs: number): void {
  const since = turn.ports.clock.now()
  turn.process.wait = { kind: 'retry', target: name, since, deadline: since + delayMs, attempt }
}

function emitStop(turn: Turn, step: string, attempt: number, durationMs: number, failed: boolean): void {
  const { ports, process } = turn
  if (!ports.watching('step:stop')) return
  const { id, incarnation } = process
  const outcome = failed ? 'failed' : 'done'
  ports.emit({
    kind: 'step:stop',
    at: ports.clock.now(),
    id,
    incarnation,
    turn: turn.id,
    step,
    attempt,
    durationMs,
    outcome,
  })
}
