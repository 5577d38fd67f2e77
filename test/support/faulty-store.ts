/**
 * A store that misbehaves on order: slow, refusing, failing before or after it wrote, gone for a while, or dead with
 * its node. What passes through is executed by the real store behind it, so every verdict stays a real one.
 *
 * - A plan is asked before each statement and may name one fault for it; without a plan the wrapper only counts.
 * - `lost` executes and then loses the answer: the caller cannot know whether it was written (PROTOCOL F3).
 * - After `die` nothing is executed and nothing answers any more: the node behind it was killed.
 */

import { type Commit, type Store, StoreFailure, type StoreFailureKind } from '../../server/store/store.ts'
import { OVERSEER_AGENTS, splitId } from '../../shared/id.ts'

export type Fault =
  | { kind: 'fail'; failure: StoreFailureKind }
  | { kind: 'lost' }
  | { kind: 'hold'; until: Promise<void> }
  | { kind: 'die'; when: 'before' | 'after' }

export type Statement = {
  readonly method: keyof Store
  /** 1 for the first statement of that method. */
  readonly n: number
  /** Rows of a commit; empty for every other method. */
  readonly batch: readonly Commit[]
  readonly args: readonly unknown[]
}

export type Plan = (statement: Statement) => Fault | undefined

function isOfTree({ id }: Commit): boolean {
  return OVERSEER_AGENTS.has(splitId(id).agent)
}

const NEVER = new Promise<never>(() => {})

export class Faults {
  dead = false
  /** Told once, at the moment of death. */
  onDeath: () => void = () => {}
  readonly counts = new Map<keyof Store, number>()
  /** Rows of agents that were committed, in order. */
  readonly committed: Commit[] = []
  /** Rows of supervisors and pools, in order. */
  readonly trees: Commit[] = []
  #plans: Plan[] = []

  /** The first plan that names a fault wins. Returns the end of the plan. */
  plan(plan: Plan): () => void {
    this.#plans.push(plan)
    return () => {
      this.#plans = this.#plans.filter((other) => other !== plan)
    }
  }

  /** The next `times` statements of the method get this fault. */
  next(method: keyof Store, fault: Fault, times = 1): void {
    let left = times
    this.plan((statement) => {
      if (statement.method !== method || left === 0) return undefined
      left -= 1
      return fault
    })
  }

  /** Every statement fails as unreachable until the returned function is called. */
  outage(): () => void {
    return this.plan(() => ({ kind: 'fail', failure: 'unavailable' }))
  }

  die(): void {
    if (this.dead) return
    this.dead = true
    this.onDeath()
  }

  async run(method: keyof Store, args: readonly unknown[], execute: () => Promise<unknown>): Promise<unknown> {
    if (this.dead) return NEVER
    const n = (this.counts.get(method) ?? 0) + 1
    this.counts.set(method, n)
    const batch = method === 'commit' ? (args[1] as readonly Commit[]) : [] // the second argument of Store.commit
    const statement: Statement = { method, n, batch, args }
    let fault: Fault | undefined
    for (const plan of this.#plans) fault ??= plan(statement)
    if (fault?.kind === 'fail') throw new StoreFailure(fault.failure, `planned failure of ${method}`)
    if (fault?.kind === 'hold') await fault.until
    if (fault?.kind === 'die' && fault.when === 'before') this.die()
    if (this.dead) return NEVER
    const result = await execute()
    if (method === 'commit') this.#remember(batch, result)
    if (fault?.kind === 'die') this.die()
    if (this.dead) return NEVER
    if (fault?.kind === 'lost') throw new StoreFailure('unavailable', `planned loss of the answer to ${method}`)
    return result
  }

  #remember(batch: readonly Commit[], result: unknown): void {
    const outcomes = result as { kind: string }[] // the result of Store.commit, in the order of the batch
    batch.forEach((row, i) => {
      if (outcomes[i]?.kind === 'committed') (isOfTree(row) ? this.trees : this.committed).push(row)
    })
  }
}

export function faultyStore(store: Store, faults: Faults): Store {
  const wrapped: Record<string, unknown> = {}
  for (const [name, method] of Object.entries(store) as [keyof Store, (...args: unknown[]) => Promise<unknown>][]) {
    wrapped[name] = name === 'close' ? method : (...args: unknown[]) => faults.run(name, args, () => method(...args))
  }
  return wrapped as unknown as Store // one wrapper per method of the interface
}
