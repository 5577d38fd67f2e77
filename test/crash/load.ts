/**
 * The load of one child: a fixed number of workers, each asking for one operation after the other until told to stop.
 *
 * - Every want and every kept promise is a fact on disk (fact.ts).
 * - At its start it asks again for what was started and not done when the child before died: the same idempotency keys,
 *   so nothing may happen twice.
 */
import { type Runtime, RuntimeError } from 'vivarium'
import { ACCOUNTS, account, CLERKS, CLOCKS, clerk, clock, guest, purse, teller } from './bank.ts'
import type { Chance } from './chance.ts'
import { annals } from './errand.ts'
import type { Desk } from './errand-desk.ts'
import { type Errand, isStarted, type Operation, readFacts, type Saga, type SagaEnd, writeFact } from './fact.ts'
import type { SagaDesk } from './saga-desk.ts'

/** At once. Enough for batches of many rows, few enough that a kill leaves some of each kind in hand. */
const WORKERS = 24
/** Beside them: errands take their time, and others shall not wait for them. */
const ERRANDERS = 8
/** And these: sagas wait for each other and for their end. */
const SAGAISTS = 5
/** Ms between two operations of a worker: full speed would make journals too long to check after each of many kills. */
const PAUSE_MS = 20

/** Of calls without a row: suspects run one at a time, and a call that is given up meanwhile is no finding. */
const PATIENT = { timeoutMs: 60_000 }
const ANNALS = 2
const ERRAND_KEYS = 3
const ERRANDS: readonly Errand[] = ['nap', 'order', 'forge', 'ship', 'tell', 'deal', 'renew']
/** One after the other, so that every life has several; those that are not cancelled come to their own end. `after`:
 *  the steps behind one of which they are asked to end. */
type Plan = { of: Saga; end: SagaEnd; after: readonly (string | null)[]; parked?: true }
const LEFT = ['flight', 'hotel', 'car', 'sign', 'seal']
const SAGAS: readonly Plan[] = [
  { of: 'trip', end: 'hang', after: LEFT },
  { of: 'vigil', end: 'arrive', after: [] },
  { of: 'trip', end: 'break-down', after: [] },
  { of: 'tour', end: 'hang', after: ['depart'] },
  { of: 'trip', end: 'hang', after: ['seal'], parked: true },
  { of: 'tour', end: 'arrive', after: [] },
  { of: 'trip', end: 'turn-back', after: [] },
  { of: 'trip', end: 'hang', after: ['sign'] },
  { of: 'trip', end: 'arrive', after: [...LEFT, null] },
  { of: 'vigil', end: 'turn-back', after: [] },
  { of: 'tour', end: 'turn-back', after: ['depart', null] },
  { of: 'trip', end: 'arrive', after: [] },
  { of: 'trip', end: 'break-down', after: ['seal', 'undo car', 'undo flight'] },
]
const SAGA_KEYS = 2
/** Ms between a step and the end that is asked for, at most: the next steps, and what is shielded. */
const SOON_MS = 30
/** Ms of a wait that outlasts the passivation time, the sweep of it and the shortest parking. */
const PARKED_MS = 2_000

/** Waits long enough to leave memory. */
const mayPark = (of: Errand): boolean => of === 'nap' || of === 'order'
/** A process of its own: nobody waits behind it, and nobody else sends to it. */
const ownsItsKey = (of: Errand): boolean => of === 'nap' || of === 'order' || of === 'tell'

/** What a node hears whose epoch ended, or whose statement the database gave up while it was frozen. */
const UNKNOWN = new Set(['CALL_OUTCOME_UNKNOWN', 'STORE_UNAVAILABLE'])

export type LoadOptions = {
  runtime: Runtime
  facts: string
  run: string
  chance: Chance
  desk: Desk
  sagas: SagaDesk
  /** The node may lose its epoch: a caller without a row then hears that the outcome is not known: no promise. */
  mayLose: boolean
}

export class Load {
  readonly #options: LoadOptions
  #count = 0
  #errands = 0
  #sagas = 0
  #stopped = false

  constructor(options: LoadOptions) {
    this.#options = options
  }

  /** Resolves when every worker has ended. */
  async run(): Promise<void> {
    const again = this.#unfinished().map(([id, op]) => this.#ask(id, op))
    const workers = Array.from({ length: WORKERS }, () => this.#work((id) => this.#next(id)))
    const erranders = Array.from({ length: ERRANDERS }, () => this.#work((id) => this.#nextErrand(id)))
    const sagaists = Array.from({ length: SAGAISTS }, () => this.#work((id) => this.#nextSaga(id)))
    this.#options.desk.resume()
    await Promise.all([...again, ...workers, ...erranders, ...sagaists])
  }

  stop(): void {
    this.#stopped = true
    this.#options.desk.stop()
  }

  /** Asks once more for what was started and never known to be done, and waits for all of it. */
  async finish(): Promise<void> {
    this.#options.desk.resume()
    await Promise.all(this.#unfinished().map(([id, op]) => this.#ask(id, op)))
  }

  #unfinished(): [string, Operation][] {
    const { wanted, done, failed } = readFacts(this.#options.facts)
    return [...wanted].filter(([id, op]) => isStarted(op) && !done.has(id) && !failed.has(id))
  }

  async #work(next: (id: string) => Operation): Promise<void> {
    while (!this.#stopped) {
      this.#count += 1
      const id = `${this.#options.run}-${this.#count}`
      const op = next(id)
      writeFact(this.#options.facts, { f: 'want', id, op })
      await this.#ask(id, op)
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  }

  async #ask(id: string, op: Operation): Promise<void> {
    const { facts } = this.#options
    try {
      await this.#request(id, op)
      writeFact(facts, { f: 'done', id })
    } catch (error) {
      if (this.#stopped) return
      if (this.#options.mayLose && error instanceof RuntimeError && UNKNOWN.has(error.code)) {
        return isStarted(op) ? this.#ask(id, op) : undefined
      }
      writeFact(facts, { f: 'failed', id, why: error instanceof Error ? error.message : String(error) })
    }
  }

  async #request(id: string, op: Operation): Promise<unknown> {
    const { runtime } = this.#options
    switch (op.kind) {
      case 'move': {
        const { from, to, amount } = op
        return (await runtime.start(teller, from, 'move', { id, from, to, amount }, { idempotencyKey: id })).result()
      }
      case 'pay': {
        const { clerk: key, amount } = op
        return (await runtime.start(clerk, key, 'pay', { id, amount }, { idempotencyKey: id })).result()
      }
      case 'push':
        return runtime.send(runtime.ref(purse, op.from).push({ id, to: op.to, amount: op.amount }))
      case 'add':
        return runtime.ref(account, op.to).add({ id, amount: op.amount }).run(PATIENT)
      case 'tip':
        return runtime.ref(clerk, op.clerk).pay({ id, amount: op.amount }).run(PATIENT)
      case 'alarm':
        return runtime.ref(clock, op.clock).alarm({ id, ms: op.ms }).run(PATIENT)
      case 'visit':
        return runtime.send(runtime.ref(guest, op.guest).visit({ id }))
      case 'note':
        return runtime.ref(annals, op.annals).write({ id }).run(PATIENT)
      case 'errand':
        return this.#options.desk.ask(id, op)
      case 'saga':
        return this.#options.sagas.ask(id, op)
      default:
        return op satisfies never
    }
  }

  #next(id: string): Operation {
    const { chance } = this.#options
    const amount = 1 + chance.below(50)
    const from = `a${chance.below(ACCOUNTS)}`
    const to = `a${chance.below(ACCOUNTS)}`
    const n = chance.below(100)
    if (n < 25) return { kind: 'move', from, to, amount }
    if (n < 45) return { kind: 'push', from, to, amount }
    if (n < 60) return { kind: 'add', to, amount }
    if (n < 72) return { kind: 'pay', clerk: `c${chance.below(CLERKS)}`, amount }
    if (n < 80) return { kind: 'tip', clerk: `c${chance.below(CLERKS)}`, amount }
    if (n < 84) return { kind: 'note', annals: `n${chance.below(ANNALS)}` }
    if (n < 91) return { kind: 'alarm', clock: `k${chance.below(CLOCKS)}`, ms: 20 + chance.below(1_500) }
    return { kind: 'visit', guest: id }
  }

  /** One after the other, so that every life has each kind. Half of those that wait leave memory meanwhile. */
  #nextErrand(id: string): Operation {
    const { chance } = this.#options
    const of = ERRANDS[this.#errands++ % ERRANDS.length] ?? 'nap'
    const ms = mayPark(of) && chance.below(2) === 0 ? PARKED_MS + chance.below(PARKED_MS / 4) : 10 + chance.below(100)
    const key = ownsItsKey(of) ? id : `e${chance.below(ERRAND_KEYS)}`
    return { kind: 'errand', of, key, ms, to: `a${chance.below(ACCOUNTS)}`, amount: 1 + chance.below(50) }
  }

  /** One after the other, beginning anywhere. Half of the trips have others before or behind them. */
  #nextSaga(id: string): Operation {
    const { chance } = this.#options
    if (this.#sagas === 0) this.#sagas = chance.below(SAGAS.length)
    const { of, end, after, parked } = SAGAS[this.#sagas++ % SAGAS.length] ?? { of: 'trip', end: 'arrive', after: [] }
    const soon = chance.below(SOON_MS)
    const later = PARKED_MS + chance.below(PARKED_MS / 4)
    const step = after.length === 0 ? undefined : after[chance.below(after.length)]
    const cancel = step === undefined ? null : { after: step, ms: parked === true ? later : soon }
    const key = of === 'trip' && parked !== true && chance.below(2) === 0 ? `s${chance.below(SAGA_KEYS)}` : id
    return { kind: 'saga', of, key, end, ms: chance.below(2) === 0 ? later : soon, cancel }
  }
}
