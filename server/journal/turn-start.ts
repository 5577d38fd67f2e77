/**
 * `ctx.start`: an operation of another agent that outlives the turn, begun once and awaited as a recorded result.
 *
 * - M4: the key is the caller's, or follows from turn and position: a crash between storing the start and recording it
 *   finds the one that exists.
 * - Its result is waited for like the answer of a call (turn-result.ts).
 */
import { RuntimeError } from '../../shared/error.ts'
import { assertLabel, splitId } from '../../shared/id.ts'
import { Call, type Caller } from '../definition/call.ts'
import type { ParentClose, StartedOperation } from '../definition/context.ts'
import { assertReason } from './cancellation.ts'
import { scopeHere } from './scope.ts'
import { idempotencyKey } from './step.ts'
import { PLAIN } from './step-option.ts'
import type { Turn } from './turn.ts'
import { adoptChild, isOfChild, joinChildren } from './turn-child.ts'
import { resultInTurn } from './turn-result.ts'
import { requestStep } from './turn-step.ts'

type Start = { target: string; op: string; message: unknown; idempotencyKey?: string; parentClose?: ParentClose }

const POLICIES: ReadonlySet<unknown> = new Set<ParentClose>(['stop', 'wait', 'detach'])

/** Calls made here are carried out by the runtime, never by awaiting them. */
const NOBODY: Caller = { call: () => Promise.reject(new RuntimeError('INTERNAL', 'A started call was awaited.')) }

export async function startInTurn(turn: Turn, start: Start): Promise<StartedOperation> {
  turn.assertOpen()
  const { target, op, message, parentClose = 'detach' } = start
  assertLabel('Operation', op)
  if (!POLICIES.has(parentClose)) {
    throw new RuntimeError('REQUEST_INVALID', `parentClose is "${parentClose}"; use stop, wait or detach.`)
  }
  if (parentClose === 'wait' && target === turn.process.id) {
    throw new RuntimeError('CALL_CYCLE', `${target} would wait at its end for an operation that begins after it.`)
  }
  const name = `start:${target} ${op}`
  const place = turn.nextKey(name)
  const key = start.idempotencyKey ?? idempotencyKey(turn.id, turn.branchHere, place)
  if (parentClose !== 'detach') adoptChild(turn, { process: target, of: key, policy: parentClose, ...within(turn) })
  const { lineage } = turn
  const call = new Call<unknown>(NOBODY, { id: target, ...splitId(target) }, op, message)
  const fn = (): Promise<boolean> => turn.ports.begin(call, { idempotencyKey: key }, lineage)
  const begun = requestStep(turn, { name, key: place, plan: PLAIN, fn, firm: true })
  if (parentClose !== 'detach') turn.children?.starts(begun)
  const created = await begun
  return {
    ...{ process: target, key, created: created === true },
    result: () => heardResult(turn, target, key),
    cancel: (reason) => cancelStarted(turn, { target, key, reason }),
  }
}

/** The sections in which it is started. */
function within(turn: Turn): { in?: readonly string[] } {
  const keys: string[] = []
  for (let scope = scopeHere(turn); scope !== null; scope = scope.parent) keys.push(scope.key)
  return keys.length === 0 ? {} : { in: keys }
}

/** Y7: a recorded request; asked again by an attempt that a crash cut short, which is without harm (Y1). */
async function cancelStarted(
  turn: Turn,
  { target, key, reason }: { target: string; key: string; reason: string | undefined },
): Promise<boolean> {
  turn.assertOpen()
  assertReason(reason)
  const name = `cancel:${target} ${key}`
  const fn = (): Promise<boolean> => turn.ports.endStarted(target, key, { reason, from: turn.process.id })
  return (await requestStep(turn, { name, key: turn.nextKey(name), plan: PLAIN, fn, firm: true })) === true
}

/** Children whose end the code has heard of are over. */
async function heardResult(turn: Turn, process: string, key: string): Promise<unknown> {
  try {
    const result = await resultInTurn(turn, { target: process, key })
    turn.children?.heard({ process, of: key })
    return result
  } catch (error) {
    if (isOfChild(turn, error)) turn.children?.heard({ process, of: key })
    throw error
  }
}

/** Y6: what the end of the turn waits for; null where there is nothing. */
export function joinInTurn(turn: Turn): Promise<unknown> | null {
  return joinChildren(turn, ({ process, of }) => resultInTurn(turn, { target: process, key: of }))
}
