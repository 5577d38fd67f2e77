/**
 * What code of a user sees on one node, judged on the spot:
 *
 * - A step of the owner runs only after its turn is accepted, after the results it builds on are stored, and never
 *   again once its own result is. A node that lost the process and does not know it yet may run one more.
 * - Whoever hears that something was done finds it done in the store.
 */
import type { Outcome } from './actor.ts'
import type { Handed, Observed } from './observed.ts'
import type { Order } from './order.ts'
import type { StoreWatch } from './store-watch.ts'

type Ran = { readonly actor: string; readonly turn: string; readonly before: readonly string[] }

export class Witness {
  readonly #observed: Observed
  readonly #watch: StoreWatch
  readonly #node: { identity(): string; pause(ms: number): Promise<void> }

  constructor(observed: Observed, watch: StoreWatch, node: { identity(): string; pause(ms: number): Promise<void> }) {
    this.#observed = observed
    this.#watch = watch
    this.#node = node
  }

  begun(id: string): void {
    this.#observed.begun(id)
    this.#observed.note(this.#node.identity(), `begins ${id}`)
  }

  /** The function of an external step gives its token away. */
  handed(handed: Handed): void {
    this.#observed.note(this.#node.identity(), `hands out ${handed.name}`)
    this.#observed.handed.push(handed)
    this.#observed.onHanded(handed)
  }

  visit(name: string): number {
    return this.#observed.visit(name)
  }

  /** In the time of the node; for ever when it dies. */
  pause(ms: number): Promise<void> {
    return this.#node.pause(ms)
  }

  /** The function of a step runs. @returns its result */
  ran(step: string, key: string, { actor, turn, before }: Ran): string {
    if (this.#watch.ownerOf(actor) === this.#node.identity()) {
      if (!this.#watch.isAccepted(turn)) this.#wrong(`step ${step} ran before its turn ${turn} was accepted`)
      if (this.#observed.isSettled(step)) this.#wrong(`step ${step} ran again although its result was stored`)
      for (const value of before) {
        if (!this.#observed.recorded.has(value)) this.#wrong(`step ${step} built on ${value}, which was not stored`)
      }
    }
    const value = this.#observed.ran(step, key)
    this.#observed.note(actor, `runs ${value} in ${turn}`)
    return value
  }

  /** A caller was told what became of an order. */
  heard(who: string, order: Order, { to, outcome }: { to: string; outcome: Outcome }): void {
    const done = this.#watch.done(order.id)
    this.#observed.note(who, `${order.id} is ${outcome}`)
    if (outcome === 'ok' && done === 0) this.#wrong(`${who} heard that ${order.id} is done before it was stored`)
    if (outcome === 'none' && done > 0) this.#wrong(`${who} heard that ${order.id} was withdrawn, and it was done`)
    if (outcome === 'rejected' && order.fate !== 'rejected') this.#wrong(`${order.id} was rejected at ${to}`)
    if (outcome === 'dead' && this.#watch.deadLetters(order.id) === 0) {
      this.#wrong(`${who} heard that ${order.id} is a dead letter before it was stored`)
    }
  }

  /** The end of a life was heard of: it is stored. */
  heardEnd(who: string, { process, life }: { process: string; life: number }): void {
    const stored = this.#watch.db.find('default', process)
    this.#observed.note(who, `hears of ${process} ${life}`)
    if (stored?.ended !== true && (stored?.incarnation ?? 0) <= life)
      this.#wrong(`${who} heard of the end of ${process} in life ${life} before it was stored`)
  }

  #wrong(text: string): void {
    this.#observed.violation(`seen: ${text}`)
  }
}
