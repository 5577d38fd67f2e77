/**
 * What sagas left outside and in their states, when all of it is over, against what was asked and told: one outcome,
 * that it allows; legs that were taken back in reverse, or stand; no state and no message of a turn that did not come
 * to its end; children that ended as their parents said; watchmen who were told what happened.
 */
import type { Effect } from './bank.ts'
import type { Facts, Operation } from './fact.ts'
import { isHopeless, LEGS, UNDO_MAX } from './saga.ts'
import type { SagaFacts } from './saga-fact.ts'
import type { SagaDeeds, SagaRequest, SagaRows } from './saga-row.ts'

type SagaOperation = Extract<Operation, { kind: 'saga' }>
/** `effects` by id. */
type Known = { rows: SagaRows; facts: SagaFacts; world: SagaDeeds; effects: ReadonlyMap<string, readonly Effect[]> }
type Told = {
  effects: readonly Effect[]
  facts: Pick<Facts, 'wanted'>
  sagas: SagaFacts
  rows: SagaRows
  world: SagaDeeds
}

/** A line of an earlier one behind one of a later one is a recorded result that ran again. */
const ORDER = [...LEGS, 'sign', 'seal', 'mended', 'heard', 'calm', ...[...LEGS].reverse().map((leg) => `undo ${leg}`)]
const WALK_ORDER = ['set out', 'arrive', 'heard', 'calm']
const OWN_END = { arrive: 'done', 'turn-back': 'CALL_REJECTED', 'break-down': 'DEAD_LETTERED', hang: null }

export function checkSagas({ effects, facts, sagas, rows, world }: Told): string[] {
  const byId = new Map<string, Effect[]>()
  for (const effect of effects) {
    const known = byId.get(effect.id)
    if (known === undefined) byId.set(effect.id, [effect])
    else known.push(effect)
  }
  const known: Known = { rows, facts: sagas, world, effects: byId }
  const found = rows.requests.filter(({ outcome }) => outcome === null).map(({ scope }) => `${scope} has no end`)
  for (const [id, op] of facts.wanted) {
    if (op.kind !== 'saga') continue
    if (op.of === 'vigil') found.push(...checkVigil(id, known))
    else found.push(...checkOutcome(id, op, known))
    if (op.of === 'trip') found.push(...checkTrip(id, op, known))
    if (op.of === 'tour') found.push(...checkTour(id, known))
  }
  found.push(...checkTickets(known))
  for (const { id, outcome } of sagas.told) {
    const stored = requestOf(id, known)?.outcome
    if (stored !== outcome) found.push(`${id} was told to end as ${outcome} and is kept as ${stored}`)
  }
  return found
}

const requestOf = (key: string, { rows }: Known): SagaRequest | undefined =>
  rows.requests.find((request) => request.key === key)
const childOf = (walk: string, { rows }: Known): SagaRequest | undefined =>
  rows.requests.find(({ scope }) => scope === `guide/${walk}`)
const stepsOf = (id: string, { effects }: Known): string[] => effects.get(id)?.map(({ step }) => step) ?? []
const timesOf = (deed: string, { world }: Known): number => world.deeds.get(deed) ?? 0

/** X28: cancelled only if somebody asked, and then surely where there is no other end. */
function checkOutcome(id: string, { end, of }: SagaOperation, known: Known): string[] {
  const outcome = requestOf(id, known)?.outcome
  if (outcome === undefined) return [`${of} ${id} is lost`]
  const asked = known.facts.asked.has(id)
  const own = end === 'break-down' && stepsOf(id, known).includes('mended') ? 'done' : OWN_END[end]
  if (outcome === 'CANCELLED' ? asked : outcome === own) return []
  return [`${of} ${id} (${end}) ended as ${outcome}, ${asked ? '' : 'not '}asked to end`]
}

function checkOrder(what: string, steps: readonly string[], order: readonly string[]): string[] {
  let reached = 0
  return steps.flatMap((step) => {
    const place = order.indexOf(step)
    if (place < 0) return [`${what} did ${step}, which is none of its steps`]
    if (place < reached) return [`${what} did ${step} after ${order[reached]}`]
    reached = place
    return []
  })
}

function checkTrip(id: string, { end }: SagaOperation, known: Known): string[] {
  const request = requestOf(id, known)
  const { outcome = null, message = '' } = request ?? {}
  const steps = stepsOf(id, known)
  const did = new Set(steps)
  const isDone = outcome === 'done'
  const what = `trip ${id} (${outcome})`
  const found = checkOrder(what, steps, ORDER)
  const expect = (holds: boolean, finding: string): void => void (holds || found.push(`${what} ${finding}`))

  for (const leg of LEGS) {
    if (isDone) expect(!did.has(`undo ${leg}`), `took back its ${leg}`)
    else expect(!did.has(leg) || did.has(`undo ${leg}`), `has its ${leg} still`)
  }
  for (const deed of [`traveller:trip ${id}`, `porter:carry ${id}`])
    expect(timesOf(deed, known) === (isDone ? 1 : 0), `has ${deed} ${timesOf(deed, known)} times`)
  // Before the checkpoint and behind it.
  const sworn = timesOf(`traveller:sworn ${id}`, known)
  expect(sworn === 1 || (sworn === 0 && !did.has('car')), `swore ${sworn} times`)
  expect(did.has('sign') === did.has('seal'), 'signed and did not seal')
  expect(did.has('heard') === did.has('calm'), 'heard and did not calm down')
  expect(!did.has('heard') || outcome === 'CANCELLED', 'heard and went on')
  // Only a crash of its own may end it before it hears.
  const begun = steps.length > 0 && end !== 'break-down'
  expect(outcome !== 'CANCELLED' || !begun || did.has('heard'), 'did not hear')
  return [...found, ...checkUndo(id, { what, message, outcome }, known)]
}

/** X29: attempts, and what is left of those that failed for good. */
function checkUndo(
  id: string,
  { what, message, outcome }: { what: string; message: string; outcome: string | null },
  { rows, effects }: Known,
): string[] {
  const attempts = (leg: string): number =>
    Math.max(0, ...(effects.get(id) ?? []).map(({ step, attempt = 0 }) => (step === `undo ${leg}` ? attempt : 0)))
  const found: string[] = []
  if (attempts('hotel') === 1) found.push(`${what} gave its hotel up`)
  const failed = isHopeless(id) && attempts('car') > 0
  if (attempts('car') > (failed ? UNDO_MAX : 1)) found.push(`${what} gave its car back ${attempts('car')} times`)
  const failures = rows.unmade.filter((one) => one === message).length
  if (failures !== (failed ? 1 : 0)) found.push(`${what} has ${failures} failures of its rollback`)
  const reason = rows.dead.get(message)
  if ((reason !== undefined) !== (outcome === 'DEAD_LETTERED')) found.push(`${what} is given up: ${reason}`)
  if (reason !== undefined && /rolled back|Suspected/.test(reason)) found.push(`${what} is given up: ${reason}`)
  if (reason !== undefined && reason.includes('rollback failed in car') !== failed)
    found.push(`${what} is given up: ${reason}`)
  return found
}

/** X28: used by its trip or returned, once: what a turn received that did not come to its end goes back. */
function checkTickets({ facts, world }: Known): string[] {
  const lost = facts.tickets.filter((ticket) => !world.deeds.has(`traveller:ticket ${ticket}`))
  const doubled = [...world.deeds].filter(([deed, times]) => deed.startsWith('traveller:ticket ') && times > 1)
  return [
    ...lost.map((ticket) => `ticket ${ticket} is lost`),
    ...doubled.map(([deed, times]) => `${deed} was used ${times} times`),
  ]
}

/** X32. Each child: the walk of the same name. */
function checkTour(id: string, known: Known): string[] {
  const parent = requestOf(id, known)
  const isDone = parent?.outcome === 'done'
  const found: string[] = []
  const times = timesOf(`tourist:tour ${id}`, known)
  if (times !== (isDone ? 1 : 0)) found.push(`tour ${id} (${parent?.outcome}) is counted ${times} times`)
  const departed = stepsOf(id, known).includes('depart')
  for (const policy of ['stop', 'wait', 'detach']) {
    const walk = `${id}-${policy}`
    const child = childOf(walk, known)
    if (child === undefined) {
      if (departed) found.push(`tour ${id} departed and its child to ${policy} is lost`)
      continue
    }
    found.push(...checkWalk(walk, child, policy === 'stop' ? 'CANCELLED' : 'done', known))
    if (policy === 'wait' && parent !== undefined && child.at > parent.at)
      found.push(`tour ${id} ended ${child.at - parent.at} ms before the child it waits for`)
  }
  return found
}

function checkWalk(id: string, { outcome }: SagaRequest, expected: string, known: Known): string[] {
  const steps = stepsOf(id, known)
  const found = checkOrder(`walk ${id}`, steps, WALK_ORDER)
  const did = new Set(steps)
  if (outcome !== expected) found.push(`walk ${id} ended as ${outcome}, not as ${expected}`)
  const times = timesOf(`guide:walk ${id}`, known)
  if (times !== (outcome === 'done' ? 1 : 0)) found.push(`walk ${id} (${outcome}) is counted ${times} times`)
  if (did.has('arrive') === (outcome === 'CANCELLED')) found.push(`walk ${id} (${outcome}) did ${steps.join(', ')}`)
  if (did.has('heard') !== did.has('calm')) found.push(`walk ${id} heard and did not calm down`)
  return found
}

/** X33: what both were told is how the lamp ended. */
function checkVigil(id: string, known: Known): string[] {
  const lamp = childOf(`${id}-lamp`, known)
  if (lamp === undefined) return [`the lamp of ${id} is lost`]
  const ended = lamp.outcome === 'done' ? String(lamp.value) : `${lamp.outcome}`
  return ['a', 'b'].flatMap((who) => {
    const watch = `${id}-${who}`
    const notes = new Set((known.effects.get(watch) ?? []).map(({ note = '' }) => note))
    const said = known.world.said.get(watch)
    const told = [...notes, ...(said === undefined ? [] : [said])].find((one) => one !== ended)
    if (told !== undefined) return [`${watch} was told ${told} of a lamp that ended as ${ended}`]
    const times = timesOf(`watchman:vigil ${watch}`, known)
    return times === 1 && said !== undefined ? [] : [`vigil ${watch} is counted ${times} times`]
  })
}
