/** What the checkers of sagas look at: each saga that can have been begun, with its parent and what came of it. */
import type { Observed } from './observed.ts'
import type { SagaState } from './saga.ts'
import { scopeOf } from './saga-client.ts'
import { type Doing, doingsOf, type Saga, type SagaRequest } from './saga-plan.ts'
import type { StoreWatch } from './store-watch.ts'

export type Child = Extract<Doing, { kind: 'child' }>

export type Case = {
  readonly saga: Saga
  /** Null for one that a client started. */
  readonly parent: { readonly of: Case; readonly as: Child } | null
  readonly request: SagaRequest | null
  /** `ok`, `pending`, `none` or the code of an error. */
  readonly outcome: string
  /** Number of the commit that settled it. */
  readonly settledAt: number | undefined
  readonly state: SagaState
}

const EMPTY: SagaState = { done: {}, heard: {}, got: {} }

export class SagaEvidence {
  readonly cases: readonly Case[]
  readonly observed: Observed
  readonly #states: ReadonlyMap<string, SagaState>

  constructor(requests: readonly SagaRequest[], { watch, observed }: { watch: StoreWatch; observed: Observed }) {
    this.observed = observed
    this.#states = new Map([...watch.sagas()].map(({ id, state }) => [id, state]))
    const cases: Case[] = []
    const add = (saga: Saga, parent: Case['parent'], request: SagaRequest | null): void => {
      const scope = scopeOf(saga)
      const outcome = watch.outcome(scope, saga.id)
      const settledAt = watch.settledAt(scope, saga.id)
      const one = { saga, parent, request, outcome, settledAt, state: this.#states.get(scope) ?? EMPTY }
      cases.push(one)
      for (const doing of doingsOf(saga.todo)) {
        if (doing.kind === 'child') add(doing.saga, { of: one, as: doing }, null)
      }
    }
    for (const request of requests) add(request.saga, null, request)
    this.cases = cases
  }

  /** How often the states say that something was carried out. */
  done(id: string): number {
    return [...this.#states.values()].reduce((sum, { done }) => sum + (done[id] ?? 0), 0)
  }

  /** Whether somebody may have asked for its end: a client, or the end of a parent that it stops with. */
  isAsked({ saga, parent }: Case): boolean {
    return this.observed.asked.has(saga.id) || parent?.as.policy === 'stop'
  }
}
