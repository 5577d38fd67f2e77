/**
 * Every order that was accepted was carried out once, with everything that follows from it; every other one once or not
 * at all, and then nothing followed from it.
 *
 * What follows from what is in the program; what came of it is in the states. The two meet here and nowhere else.
 */
import type { ActorState, Outcome } from './actor.ts'
import type { Observed } from './observed.ts'
import type { Instruction, Order, Request } from './order.ts'
import type { StoreWatch } from './store-watch.ts'

/** How often something must have happened. */
type Expected = 'once' | 'never' | 'maybe'

type Evidence = {
  readonly observed: Observed
  readonly watch: StoreWatch
  readonly states: ReadonlyMap<string, ActorState>
}

export function checkEffects(requests: readonly Request[], evidence: Evidence): string[] {
  const effects = new Effects(evidence)
  for (const { kind, order, to } of requests) {
    const told = evidence.observed.told.get(order.id)
    if (kind === 'signal') effects.signal(order.id, evidence.observed.accepted.has(order.id) ? 'once' : 'maybe')
    else if (told !== undefined) effects.order(order, expectedOf(told))
    else effects.order(order, evidence.observed.accepted.has(order.id) ? 'once' : 'maybe')
    if (kind === 'start' && told === undefined) effects.found.push(`effects: nobody heard of ${order.id} at a${to}`)
  }
  return effects.end()
}

/** What a caller may conclude from what it heard. */
function expectedOf(outcome: Outcome): Expected {
  if (outcome === 'none') return 'never'
  return outcome === 'maybe' ? 'maybe' : 'once'
}

/** `left`: what this instruction sent has left. `released`: it may have. `whole`: the order came to its end. */
type Reached = { left: boolean; released: boolean; whole: boolean }

class Effects {
  readonly found: string[] = []
  readonly #evidence: Evidence
  readonly #done = new Map<string, number>()
  readonly #got = new Map<string, string>()
  /** Orders that several others may start. */
  readonly #started = new Map<string, { order: Order; expected: Expected }>()

  constructor(evidence: Evidence) {
    this.#evidence = evidence
    for (const { done, got } of evidence.states.values()) {
      for (const [id, n] of Object.entries(done)) this.#done.set(id, (this.#done.get(id) ?? 0) + n)
      for (const [what, outcome] of Object.entries(got)) this.#got.set(what, outcome)
    }
  }

  end(): string[] {
    for (const { order, expected } of this.#started.values()) this.order(order, expected)
    return this.found
  }

  signal(id: string, expected: Expected): void {
    this.#count('signal', id, expected)
  }

  /** One that ends well leaves its id; any other one leaves none, whatever is expected of its end. */
  order(order: Order, expected: Expected): void {
    const { id, fate } = order
    this.#count('order', id, fate === 'done' ? expected : 'never')
    const letters = this.#evidence.watch.deadLetters(id)
    if (letters > (fate === 'dead' && expected !== 'never' ? 1 : 0)) this.#wrong(`${id} is ${letters} dead letters`)
    if (letters === 0 && fate === 'dead' && expected === 'once') this.#wrong(`${id} is no dead letter`)
    const happened = this.#times(id) > 0
    const stored = happened ? order.todo.length : this.#checkpointed(order)
    order.todo.forEach((one, i) => {
      // M5: a call takes along what was sent to its receiver before, whatever becomes of the turn.
      const released = order.todo.slice(i).some((later) => later.kind === 'call' && later.to === receiverOf(one))
      this.#follow(one, { left: i < stored, released, whole: happened })
    })
  }

  /** How many instructions the last stored checkpoint covers. */
  #checkpointed({ id, todo }: Order): number {
    let covered = 0
    todo.forEach((one, i) => {
      if (one.kind === 'checkpoint' && this.#times(`${id}/${i}`) > 0) covered = i
    })
    return covered
  }

  #follow(one: Instruction, { left, released, whole }: Reached): void {
    const sent: Expected = left ? 'once' : released ? 'maybe' : 'never'
    switch (one.kind) {
      case 'send':
      case 'later':
        return this.order(one.order, sent)
      case 'replaced':
        this.order(one.first, 'never')
        return this.order(one.order, sent)
      case 'cancelled':
        return this.order(one.order, 'never')
      case 'signal':
        return this.signal(one.id, sent)
      case 'call':
        return this.#call(one.order, left)
      case 'start':
        return this.#start(one, left)
      case 'step':
        return this.#step(one.name, whole)
      case 'parallel':
        for (const { name } of one.steps) this.#step(name, whole)
        return
      default:
        return
    }
  }

  #call(order: Order, left: boolean): void {
    const outcome = this.#got.get(order.id)
    if (left && outcome === undefined) this.#wrong(`nothing is known of the call ${order.id}`)
    // The call itself leaves at once, whatever becomes of the turn that made it.
    this.order(order, left && outcome !== undefined ? expectedOf(outcome as Outcome) : 'maybe')
  }

  #start({ order, to }: { order: Order; to: number }, left: boolean): void {
    const before = this.#started.get(order.id)?.expected
    const request = this.#evidence.watch.request(`actor/a${to}`, order.id)
    if (left && request === undefined) this.#wrong(`the start of ${order.id} is not stored`)
    const stopped = request?.status === 'failed' && request.result?.includes('PROCESS_EXITED') === true
    const expected = request === undefined || stopped ? 'never' : left ? 'once' : 'maybe'
    this.#started.set(order.id, { order, expected: before === 'once' ? 'once' : expected })
  }

  /** What the turn was given in the end is what the journal says that the step gave. */
  #step(name: string, whole: boolean): void {
    if (!whole) return
    const value = this.#got.get(name)
    if (value === undefined) this.#wrong(`step ${name} is missing`)
    else if (!this.#evidence.observed.recorded.has(value))
      this.#wrong(`step ${name} gave ${value}, which is not stored`)
  }

  #count(what: string, id: string, expected: Expected): void {
    const times = this.#times(id)
    if (times > 1) this.#wrong(`${what} ${id} happened ${times} times`)
    else if (expected === 'once' && times === 0) this.#wrong(`${what} ${id} is lost`)
    else if (expected === 'never' && times > 0) this.#wrong(`${what} ${id} happened, and should not have`)
  }

  #times(id: string): number {
    return this.#done.get(id) ?? 0
  }

  #wrong(text: string): void {
    this.found.push(`effects: ${text}`)
  }
}

function receiverOf(one: Instruction): number | null {
  return one.kind === 'send' || one.kind === 'signal' ? one.to : null
}
