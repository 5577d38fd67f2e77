/**
 * The handler of a turn, from its first line to the end of the turn.
 *
 * - A turn ends by itself: done, rejected, cancelled. Anything else that its code throws is a crash, which the kernel
 *   and durable.ts judge.
 * - Before an end come those it waits for (Y6), and, where it takes things back, its rollback (Y4).
 */
import { errorData } from '../../shared/error.ts'
import { copy } from '../../shared/value.ts'
import { isThenable } from '../kernel/thenable.ts'
import { handOver } from './bytes.ts'
import { endedWith } from './cancellation.ts'
import { DurableContext } from './context.ts'
import type { EndKind, Outcome } from './entry.ts'
import { assertCallsUsed, END_WORDS, finishTurn } from './finish.ts'
import type { Handler } from './handler.ts'
import type { Patch } from './patch.ts'
import type { RollbackCause } from './rollback.ts'
import { SandboxContext } from './sandbox-context.ts'
import { SandboxTurn } from './sandbox-turn.ts'
import { putBack } from './taken.ts'
import type { Turn } from './turn.ts'
import { joinInTurn } from './turn-start.ts'
import type { TurnStreams } from './turn-stream.ts'
import { refusalOf } from './validation.ts'

/** A turn that is over for its process, though its code may still run: the kernel waits for nothing of it. */
export const NEVER = new Promise<void>(() => {})

/** The turn ended before all that is recorded was asked for (T5). In a task of its own: when a handler has returned at
 *  once, the kernel has yet to mark its turn as running. */
async function endsEarly(turn: Turn, ended: string): Promise<void> {
  await null
  if (!turn.closed && turn.process.epoch === turn.epoch) turn.diverge({ asked: [], ended })
  return NEVER
}

function contextOf(turn: Turn): DurableContext {
  return turn instanceof SandboxTurn ? new SandboxContext(turn) : new DurableContext(turn)
}

export function runHandler(turn: Turn, handler: Handler): void | Promise<void> {
  if (turn.rollback?.isDue(turn.agent.definition.maxAttempts) === true) return backOut(turn, handler)
  let result: unknown
  try {
    // A turn that is open was begun before, and its message was welcome then.
    const refusal = turn.open === null ? refusalOf(turn.agent, turn.base, turn.envelope) : null
    if (refusal !== null) throw refusal
    result = handler(contextOf(turn), handOver(turn.envelope.args))
  } catch (error) {
    return failed(turn, error)
  }
  if (!isThenable(result) && turn.streams === null) return done(turn, result)
  return Promise.resolve(result).then(
    // M8: what a reader may have seen is stored before the end that says so.
    (value) => (turn.streams === null ? done(turn, value) : streamed(turn, turn.streams, value)),
    (error: unknown) => failed(turn, error),
  )
}

/** Y4: the turn goes back the way it came. */
async function backOut(turn: Turn, handler: Handler): Promise<void> {
  const code = (): unknown => handler(contextOf(turn), handOver(turn.envelope.args))
  const back = await turn.rollback?.resume(code)
  if (back !== undefined) return rolledBack(turn, back.cause, back.error)
}

function rolledBack(turn: Turn, cause: RollbackCause, error: unknown): void | Promise<void> {
  if (turn.closed || turn.process.epoch !== turn.epoch) return NEVER
  if (cause === 'failed') throw error
  // M8: as before any other end. A cancelled turn waits for nothing more.
  if (cause === 'rejected' && turn.streams !== null) {
    return turn.streams.stored().then(() => endDropped(turn, cause, error))
  }
  return endDropped(turn, cause, error)
}

async function streamed(turn: Turn, streams: TurnStreams, value: unknown): Promise<void> {
  if (turn.closed || turn.process.epoch !== turn.epoch) return NEVER
  await streams.stored()
  return done(turn, value)
}

function done(turn: Turn, value: unknown): void | Promise<void> {
  if (turn.closed || turn.process.epoch !== turn.epoch) return NEVER
  const left = joinInTurn(turn)
  if (left !== null) return left.then(() => done(turn, value))
  if (turn.unreplayed !== null) return endsEarly(turn, END_WORDS.done)
  let out: Outcome
  let patches: Patch[]
  try {
    assertCallsUsed(turn)
    out = turn.answer ?? { ok: value === undefined ? null : copy(value) }
    patches = turn.takePatches()
  } catch (error) {
    return failed(turn, error)
  }
  finishTurn(turn, 'done', out, patches)
}

function failed(turn: Turn, error: unknown): void | Promise<void> {
  if (turn.closed || turn.process.epoch !== turn.epoch) return NEVER
  const end = endedWith(turn, error)
  const { rollback } = turn
  const isLast = end !== null || turn.envelope.attempts + 1 >= turn.agent.definition.maxAttempts
  const left = isLast ? joinInTurn(turn) : null
  if (left !== null) return left.then(() => failed(turn, error))
  if (end === null && (rollback === null || !isLast)) throw error
  if (end !== null && turn.unreplayed !== null) return endsEarly(turn, END_WORDS[end.how])
  const cause = end?.how ?? 'failed'
  const why = end?.error ?? error
  if (rollback === null) return rolledBack(turn, cause, why)
  return rollback.run(cause, why).then(() => rolledBack(turn, cause, why))
}

/** M3: an ordinary end. The draft is dropped, the caller hears the error. */
function endDropped(turn: Turn, how: Exclude<EndKind, 'done'>, error: unknown): void | Promise<void> {
  if (turn.closed || turn.process.epoch !== turn.epoch) return NEVER
  const { open } = turn
  if (open === null || open.taken === null) return finishTurn(turn, how, { err: errorData(error) }, [])
  // M8: what it received goes back once the end is stored; nothing may overtake it meanwhile.
  return new Promise((resolve) => {
    turn.ended = () => {
      putBack(turn.process, open)
      resolve()
    }
    finishTurn(turn, how, { err: errorData(error) }, [])
  })
}
