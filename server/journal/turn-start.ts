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
import type { StartedOperation } from '../definition/context.ts'
import { idempotencyKey } from './step.ts'
import { PLAIN } from './step-option.ts'
import type { Turn } from './turn.ts'
import { resultInTurn } from './turn-result.ts'
import { requestStep } from './turn-step.ts'

type Start = { target: string; op: string; message: unknown; idempotencyKey?: string }

/** Calls made here are carried out by the runtime, never by awaiting them. */
const NOBODY: Caller = { call: () => Promise.reject(new RuntimeError('INTERNAL', 'A started call was awaited.')) }

export async function startInTurn(turn: Turn, start: Start): Promise<StartedOperation> {
  turn.assertOpen()
  const { target, op, message } = start
  assertLabel('Operation', op)
  const name = `start:${target} ${op}`
  const place = turn.nextKey(name)
  const key = start.idempotencyKey ?? idempotencyKey(turn.id, turn.branchHere, place)
  const { lineage } = turn
  const call = new Call<unknown>(NOBODY, { id: target, ...splitId(target) }, op, message)
  const fn = (): Promise<boolean> => turn.ports.begin(call, { idempotencyKey: key }, lineage)
  const created = await requestStep(turn, { name, key: place, plan: PLAIN, fn })
  return { process: target, key, created: created === true, result: () => resultInTurn(turn, { target, key }) }
}
