/**
 * Between a node and its store: each statement travels, is carried out at the database, and its answer travels back. On
 * the way it fails, gets lost, or its node dies.
 *
 * - A statement of a node that died meanwhile is carried out all the same, or not: it was on the wire.
 * - What it does is done by the real store behind; the watch looks at the tables right after.
 */
import { type Commit, StoreFailure } from '../../server/store/store.ts'
import type { Dice } from './dice.ts'
import type { Faults } from './fault.ts'
import type { Place, Schedule } from './schedule.ts'
import type { StoreWatch } from './store-watch.ts'

const NEVER = new Promise<never>(() => {})

export type WireEnds = {
  readonly schedule: Schedule
  readonly faults: Faults
  readonly dice: Dice
  readonly watch: StoreWatch
  readonly database: Place
  readonly node: Place
  /** The node dies at this statement. */
  die(why: string): void
}

export class Wire {
  readonly #ends: WireEnds
  /** The node is over and only has to end: nothing is sent any more. */
  closed = false
  statements = 0

  constructor(ends: WireEnds) {
    this.#ends = ends
  }

  /** The same object, behind this wire. */
  before<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (of, name) => {
        const method: unknown = Reflect.get(of, name)
        if (typeof method !== 'function' || name === 'close') return method
        return (...args: unknown[]) => this.send(String(name), args, () => Reflect.apply(method, of, args))
      },
    })
  }

  send<T>(method: string, args: readonly unknown[], execute: () => Promise<T>): Promise<T> {
    const { schedule, faults, dice, node, database } = this.#ends
    if (this.closed) return Promise.reject(new StoreFailure('unavailable', 'The simulation is over.'))
    if (node.dead) return NEVER
    this.statements += 1
    const passage = faults.passage(method)
    const { kind } = passage
    schedule.trace.add(schedule.now, node.name, `${method}${textOf(method, args)}${kind === 'ok' ? '' : ` ${kind}`}`)
    const reaches = dice.permille(500)
    if (kind === 'die-before') this.#ends.die(method)
    return new Promise((resolve, reject) => {
      const back = (what: string, run: () => void): void => schedule.at(node, passage.back, `${method} ${what}`, run)
      const fail = (failure: StoreFailure): void => back(failure.kind, () => reject(failure))
      if (kind === 'fail') return fail(new StoreFailure(passage.failure, `planned failure of ${method}`))
      schedule.at(database, passage.out, `${method} of ${node.name}`, () => {
        if (node.dead && !reaches) return
        execute().then(
          (result) => {
            this.#ends.watch.executed(method, args, result)
            if (kind === 'die-after') this.#ends.die(method)
            if (kind === 'lost') fail(new StoreFailure('unavailable', `planned loss of the answer to ${method}`))
            else back('answered', () => resolve(result))
          },
          (error: unknown) => back('refused', () => reject(error)),
        )
      })
    })
  }
}

function textOf(method: string, args: readonly unknown[]): string {
  if (method === 'commit') return (args[1] as readonly Commit[]).map(({ id, seq }) => ` ${id}:${seq}`).join('') // Store
  const ids = args
    .flatMap((arg) => (Array.isArray(arg) ? arg : [arg]))
    .flatMap((one: unknown) => {
      if (typeof one === 'string') return one === 'default' ? [] : [one]
      const id: unknown = typeof one === 'object' && one !== null ? (Reflect.get(one, 'id') ?? null) : null
      return typeof id === 'string' ? [id] : []
    })
  return ids
    .slice(0, 4)
    .map((id) => ` ${id}`)
    .join('')
}
