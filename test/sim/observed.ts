/**
 * What was seen from outside of the runtime: by clients, by the functions of steps, by handlers as they go, and by the
 * store. The checkers compare these with each other and with what the store holds; nothing here asks the runtime.
 */
import type { StreamItem } from '../../server/observe/streams.ts'
import type { Outcome } from './actor.ts'

export type Run = { readonly step: string; readonly key: string; readonly value: string }

/** A token that the function of an external step gave away, to so many outsiders. */
export type Handed = {
  readonly name: string
  readonly saga: string
  readonly token: string
  readonly rivals: number
}

/** What an outsider was told of the outcome it gave: `taken`, or the code of an error. */
export type GivenOutcome = Omit<Handed, 'rivals'> & { readonly value: string; readonly told: string }

/** Starts with a signal, by signal: how often one was tried, and whether one was acknowledged. */
export class Signals {
  readonly tries = new Map<string, number>()
  readonly acknowledged = new Set<string>()

  tried(id: string): void {
    this.tries.set(id, (this.tries.get(id) ?? 0) + 1)
  }

  accepted(id: string): void {
    this.acknowledged.add(id)
  }
}

export class Observed {
  /** Says what happened to whoever reads the trace. */
  readonly note: (where: string, what: string) => void
  /** Broken promises, in words. */
  readonly violations: string[] = []
  /** By order, what a client was told of it; nothing for sends. */
  readonly told = new Map<string, Outcome>()
  /** Requests whose storage was acknowledged: they may not be lost. */
  readonly accepted = new Set<string>()
  readonly runs: Run[] = []
  /** Steps whose outcome was given by a result that the store holds, by value. */
  readonly recorded = new Set<string>()
  /** Sagas that a client asked the end of. */
  readonly asked = new Set<string>()
  readonly handed: Handed[] = []
  readonly outcomes: GivenOutcome[] = []
  readonly signals = new Signals()
  /** What live readers got, by stream. */
  readonly read = new Map<string, StreamItem[]>()
  /** Told of each token. */
  onHanded: (handed: Handed) => void = () => {}
  readonly counts = { turns: 0, begun: 0, again: 0, claims: 0, snapshots: 0 }
  readonly #visits = new Map<string, number>()
  readonly #begun = new Set<string>()
  readonly #settledSteps = new Set<string>()

  constructor(note: (where: string, what: string) => void) {
    this.note = note
  }

  violation(text: string): void {
    // One broken promise is often seen again and again.
    if (this.violations.includes(text)) return
    this.violations.push(text)
    this.note('checker', text)
  }

  /** How often this was called with the same name. */
  visit(name: string): number {
    const count = (this.#visits.get(name) ?? 0) + 1
    this.#visits.set(name, count)
    return count
  }

  begun(id: string): void {
    this.counts.begun += 1
    if (this.#begun.has(id)) this.counts.again += 1
    this.#begun.add(id)
  }

  /** A function of a step runs. @returns the value it gives, which nobody else gives */
  ran(step: string, key: string): string {
    const value = `${step}=${this.runs.length}`
    this.runs.push({ step, key, value })
    return value
  }

  /** The store holds this result of a step. */
  record(value: string): void {
    this.recorded.add(value)
    this.#settledSteps.add(value.slice(0, value.indexOf('=')))
  }

  isSettled(step: string): boolean {
    return this.#settledSteps.has(step)
  }
}
