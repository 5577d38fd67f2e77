/**
 * A saga that succeeded happened once and took nothing back; any other one left nothing in the state but what a
 * checkpoint stored, and took back each effect it had, once, in reverse (Y4, Y5). Pokes are heard once (W4, W6).
 */
import type { Case, SagaEvidence } from './saga-evidence.ts'
import { type Doing, doingsOf } from './saga-plan.ts'

export function checkSagas(evidence: SagaEvidence): string[] {
  return evidence.cases.flatMap((one) => [
    ...checkOutcome(one, evidence),
    ...checkUndo(one, evidence),
    ...checkPokes(one, evidence),
    ...checkSignal(one, evidence),
  ])
}

function checkOutcome({ saga, outcome, state }: Case, evidence: SagaEvidence): string[] {
  const { id, fate } = saga
  const done = evidence.done(id)
  const found: string[] = []
  if (done !== (outcome === 'ok' ? 1 : 0)) found.push(`saga: ${id} is ${outcome}, and happened ${done} times`)
  // One that heard of its end and goes on does not come to where it fails for ever.
  const isKept = (state.heard[id] ?? 0) > 0
  const planned = { done: 'ok', rejected: 'CALL_REJECTED', dead: isKept ? 'ok' : 'DEAD_LETTERED' }[fate]
  // One that was stopped before it began, by an operator, has another end.
  const others = ['none', 'CANCELLED', 'PROCESS_EXITED']
  if (outcome !== planned && !others.includes(outcome)) found.push(`saga: ${id} is ${outcome} instead of ${planned}`)
  return found
}

/** Works in the order in which the code registers what takes them back. */
function worksOf(todo: readonly Doing[]): string[] {
  return [...doingsOf(todo)].flatMap((one) => (one.kind === 'work' ? [one.name] : []))
}

function checkUndo({ saga, outcome }: Case, { observed }: SagaEvidence): string[] {
  const found: string[] = []
  const works = worksOf(saga.todo)
  const first = new Map<string, number>()
  observed.runs.forEach(({ step }, i) => void first.set(step, first.get(step) ?? i))
  const recorded = (name: string): number =>
    [...observed.recorded].filter((value) => value.startsWith(`${name}=`)).length
  let before = Number.NEGATIVE_INFINITY
  for (const name of works.toReversed()) {
    const undo = `undo ${name}`
    const ran = first.get(undo)
    if (outcome === 'ok' || outcome === 'none') {
      if (ran !== undefined) found.push(`saga: ${saga.id} is ${outcome}, and ${name} was taken back`)
      continue
    }
    if (first.has(name) && recorded(undo) === 0) found.push(`saga: ${name} of ${saga.id} was not taken back`)
    if (recorded(undo) > 1) found.push(`saga: ${name} of ${saga.id} was taken back ${recorded(undo)} times`)
    if (ran === undefined) continue
    if (ran < before) found.push(`saga: ${name} of ${saga.id} was taken back before what came after it`)
    before = ran
  }
  return found
}

/** What a checkpoint stored has left, whatever became of the turn. */
function checkPokes({ saga, outcome, state }: Case, evidence: SagaEvidence): string[] {
  const found: string[] = []
  const stored = saga.todo.findLastIndex((one, i) => one.kind === 'checkpoint' && evidence.done(`${saga.id}/${i}`) > 0)
  // What comes behind the place where it heard of its end was left out.
  const heard = (state.heard[saga.id] ?? 0) > 0
  saga.todo.forEach((one, i) => {
    if (one.kind !== 'poke') return
    const done = evidence.done(one.id)
    if (outcome === 'ok' && !heard && done !== 1) found.push(`saga: the poke ${one.id} is there ${done} times`)
    else if (i < stored && done !== 1) found.push(`saga: the stored poke ${one.id} is there ${done} times`)
    else if (outcome !== 'ok' && i > stored && done !== 0) found.push(`saga: ${one.id} was poked by what is ${outcome}`)
    else if (done > 1) found.push(`saga: the poke ${one.id} is there ${done} times`)
  })
  return found
}

/** Each start takes the signal along, also one that was begun before, and also one whose answer was lost. */
function checkSignal({ request }: Case, evidence: SagaEvidence): string[] {
  const signal = request?.signal ?? null
  if (signal === null) return []
  const done = evidence.done(signal)
  const { tries, acknowledged } = evidence.observed.signals
  if (done >= (acknowledged.has(signal) ? 1 : 0) && done <= (tries.get(signal) ?? 0)) return []
  return [`saga: the signal ${signal} was heard ${done} times, and sent ${tries.get(signal)} times`]
}
