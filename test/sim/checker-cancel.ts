/**
 * Nobody hears of a cancellation that nobody asked for, or twice; what waits for ever hears of one (Y1, Y2). What
 * becomes of a child is what its policy says (Y6).
 */
import type { Case, SagaEvidence } from './saga-evidence.ts'

export function checkCancels(evidence: SagaEvidence): string[] {
  return evidence.cases.flatMap((one) => [...checkHearing(one, evidence), ...checkChild(one, evidence)])
}

function checkHearing(one: Case, evidence: SagaEvidence): string[] {
  const { saga, outcome, state } = one
  const found: string[] = []
  const heard = state.heard[saga.id] ?? 0
  if (heard > 1) found.push(`cancel: ${saga.id} heard of its end ${heard} times`)
  if (heard > 0 && outcome !== 'ok') found.push(`cancel: ${saga.id} is ${outcome}, and its state says that it heard`)
  if ((heard > 0 || outcome === 'CANCELLED') && !evidence.isAsked(one)) {
    found.push(`cancel: ${saga.id} was cancelled, and nobody asked for it`)
  }
  const waits = saga.todo.some(({ kind }) => kind === 'forever')
  if (waits && outcome === 'ok' && heard === 0) found.push(`cancel: ${saga.id} ended what waits for ever, unasked`)
  return found
}

function checkChild({ saga, parent, outcome, settledAt }: Case, { observed }: SagaEvidence): string[] {
  if (parent === null || outcome === 'none') return []
  const { of, as } = parent
  const found: string[] = []
  if (as.awaited && of.outcome === 'ok') {
    const told = of.state.got[saga.id]
    const is = outcome === 'ok' ? `done ${saga.id}` : outcome
    // One that heard of its own end may not have come so far.
    const cut = (of.state.heard[of.saga.id] ?? 0) > 0
    if (told !== is && !(told === undefined && cut)) found.push(`child: ${of.saga.id} was told ${told} of ${saga.id}`)
  }
  if (as.policy === 'detach' && outcome === 'CANCELLED' && !observed.asked.has(saga.id)) {
    found.push(`child: ${saga.id} was left alone, and cancelled`)
  }
  // Where the attempts of the parent are used up with no code running, nobody waits.
  const waits = as.policy === 'wait' && of.outcome !== 'DEAD_LETTERED'
  if (waits && (settledAt ?? Number.POSITIVE_INFINITY) > (of.settledAt ?? 0)) {
    found.push(`child: ${of.saga.id} ended before ${saga.id}, for which it waits`)
  }
  return found
}
