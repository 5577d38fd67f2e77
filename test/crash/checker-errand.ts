/**
 * What errands left outside against what they came to: recorded results never run again and never change, retries
 * count on, sleeps last, outcomes from outside count once, a turn goes on in the way it began.
 */
import type { Effect } from './bank.ts'
import type { World } from './checker-promise.ts'
import { HEATS } from './errand.ts'
import type { Errand, Facts, Operation } from './fact.ts'

/** Steps in the order of the code. Those that run side by side leave no line. */
const STEPS: Record<Errand, readonly string[]> = {
  nap: ['bed', 'rise'],
  order: ['serve', 'pay'],
  forge: ['heat', 'hammer', 'quench'],
  ship: ['pack', 'customs', 'sail'],
  tell: ['model', 'bind'],
  deal: ['seal'],
  renew: ['plan', 'lay', 'set'],
}
/** Steps whose note is a recorded result of their turn: it is the same whenever they run. */
const FIXED = new Set(['serve', 'pay', 'quench', 'customs', 'sail', 'bind', 'seal', 'set'])
/** Ms that clocks of this machine and of its database may differ as measured. */
const CLOCK_MS = 50
/** What the last report before a slip said, for every later attempt. */
const BLOWS_DONE = '3'

type Seen = { id: string; of: Errand; lines: readonly Effect[] }

export function checkErrands(
  effects: readonly Effect[],
  facts: Facts,
  world: Pick<World, 'said' | 'dishes'>,
): string[] {
  const lines = new Map<string, Effect[]>()
  for (const effect of effects) {
    const known = lines.get(effect.id)
    if (known === undefined) lines.set(effect.id, [effect])
    else known.push(effect)
  }
  const found: string[] = []
  for (const [id, op] of facts.wanted) {
    if (op.kind !== 'errand') continue
    const seen = { id, of: op.of, lines: lines.get(id) ?? [] }
    found.push(...checkOrder(seen), ...checkFixed(seen), ...checkAttempts(seen))
    if (op.of === 'nap') found.push(...checkNap(seen, op))
    if (op.of === 'renew') found.push(...checkWays(seen))
    found.push(...checkSaid(seen, world.said.get(`${op.of} ${id}`)))
  }
  return [...found, ...checkStamps(facts, world), ...checkDishes(facts, world)]
}

/** X20: a step runs only when the result of the one before is stored, so nothing before it runs again. */
function checkOrder({ id, of, lines }: Seen): string[] {
  const found: string[] = []
  let reached = -1
  for (const { step } of lines) {
    const place = STEPS[of].indexOf(step)
    if (place < 0) found.push(`${of} ${id} did ${step}, which is none of its steps`)
    if (place < reached) found.push(`${of} ${id} did ${step} again after ${STEPS[of][reached]}`)
    reached = Math.max(reached, place)
  }
  return found
}

function checkFixed({ id, of, lines }: Seen): string[] {
  return [...FIXED].flatMap((step) => {
    const notes = new Set(lines.filter((line) => line.step === step).map(({ note = '' }) => note))
    return notes.size > 1 ? [`${of} ${id} did ${step} as ${[...notes].join(' and as ')}`] : []
  })
}

/** X20: attempts count on over crashes, and reports are found by the attempts after them. */
function checkAttempts({ id, of, lines }: Seen): string[] {
  const found: string[] = []
  const last = new Map<string, number>()
  let blows = 0
  for (const { step, attempt = 1, note } of lines) {
    const before = last.get(step) ?? 0
    if (attempt < before || attempt > before + 1)
      found.push(`${of} ${id}: attempt ${attempt} of ${step} after ${before}`)
    last.set(step, attempt)
    if (step === 'heat' && attempt > HEATS) found.push(`${of} ${id} was heated ${attempt} times`)
    if (step !== 'hammer') continue
    if (Number(note) < blows) found.push(`${of} ${id} was hammered from ${note} after ${blows}`)
    if (attempt > 1 && note !== BLOWS_DONE) found.push(`${of} ${id} forgot its blows: ${note} of ${BLOWS_DONE}`)
    blows = Number(note)
  }
  return found
}

/** X21: by the world's clock; the due time was recorded after the first line of the step before. */
function checkNap({ id, lines }: Seen, { ms }: Extract<Operation, { kind: 'errand' }>): string[] {
  const bed = lines.find(({ step }) => step === 'bed')?.at ?? 0
  const early = lines.filter(({ step, at = 0 }) => step === 'rise' && at < bed + ms - CLOCK_MS)
  return early.map(({ at = 0 }) => `nap ${id} of ${ms} ms ended after ${at - bed}`)
}

/** X25: code only gets newer, and once a turn has a result behind its way, it goes on in this one. */
function checkWays({ id, lines }: Seen): string[] {
  const found: string[] = []
  let way = 0
  for (const { step, note } of lines) {
    if (step === 'lay' && Number(note) < way) found.push(`renew ${id} went back from way ${way} to ${note}`)
    if (step === 'set' && Number(note) !== way) found.push(`renew ${id} began in way ${way} and went on in ${note}`)
    if (step === 'lay') way = Number(note)
  }
  return found
}

/** What is in the state is what was done outside last. */
function checkSaid({ id, of, lines }: Seen, said: string | undefined): string[] {
  const last = lines.at(-1)
  if (said === undefined || last === undefined || last.note === said) return []
  return [`${of} ${id} says ${said} and did ${last.step} with ${last.note ?? 'nothing'}`]
}

/** X23: whoever was told that its outcome counts was the only one, and the turn has this outcome. */
function checkStamps({ stamped }: Facts, { said }: Pick<World, 'said'>): string[] {
  const by = new Map<string, string>()
  const found: string[] = []
  for (const { id, by: value } of stamped) {
    const other = by.get(id)
    if (other !== undefined) found.push(`ship ${id} was stamped as ${other} and as ${value}`)
    by.set(id, value)
    const has = said.get(`ship ${id}`)
    if (has !== undefined && has !== value) found.push(`ship ${id} was stamped as ${value} and has ${has}`)
  }
  return found
}

/** X22, X27: each signal is received or handled, once; an order that is done had one. */
function checkDishes({ wanted, done, signalled }: Facts, { dishes }: Pick<World, 'dishes'>): string[] {
  const found: string[] = []
  const served = new Set<string>()
  for (const [dish, times] of dishes) {
    const [id = ''] = dish.split(' ')
    served.add(id)
    if (times !== 1) found.push(`dish ${dish} came ${times} times`)
    if (!wanted.has(id)) found.push(`nobody ordered dish ${dish}`)
  }
  for (const { id, ask } of signalled) if (!dishes.has(`${id} ${ask}`)) found.push(`dish ${id} ${ask} is lost`)
  for (const [id, op] of wanted) {
    if (op.kind === 'errand' && op.of === 'order' && done.has(id) && !served.has(id)) found.push(`${id} had no dish`)
  }
  return found
}
