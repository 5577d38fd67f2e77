/**
 * The open requests of a turn: what its code waits for, in the order in which it asked.
 *
 * - A key names a request on every replay: given by the code, or a counter per name.
 * - T5: results are handed over one per macrotask while several are open (delivery.ts).
 * - Y2: a request may be given up by a cancellation. From then on nothing of it is recorded; what its work still brings
 *   is dropped here.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { Clock } from '../kernel/clock-port.ts'
import { Delivery } from './delivery.ts'
import type { Shape } from './entry.ts'
import type { Part } from './record.ts'

export type OpenRequest = {
  readonly key: string
  readonly shape: Shape
  /** Short, and its outcome must be known: a cancellation waits for it (a checkpoint, a transaction, a start). */
  readonly firm: boolean
  reject(error: unknown): void
  /** Ends what was begun for it; returns what must leave with the news of that. */
  stop: (() => Partial<Part>) | null
}

type Asked = { key: string; shape: Shape; firm: boolean; run: () => Promise<unknown>; over: () => void }

export class Requests {
  readonly #clock: Clock
  // Most turns need none of these: they are made when the first request asks for them.
  #counters: Map<string, number> | null = null
  #open: Map<string, OpenRequest> | null = null
  #delivery: Delivery | null = null

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @throws STEP_KEY_REQUIRED */
  key(name: string, explicit?: string): string {
    if (explicit !== undefined) {
      const key = `${name}:${explicit}`
      if (this.has(key)) throw ambiguous(name, key)
      return key
    }
    this.#counters ??= new Map()
    const n = this.#counters.get(name) ?? 0
    if (n > 0 && this.has(`${name}#${n - 1}`)) throw ambiguous(name, `${name}#${n - 1}`)
    this.#counters.set(name, n + 1)
    return `${name}#${n}`
  }

  /** A key by order of asking alone, for requests without an effect: any number may be open. */
  nextKey(name: string): string {
    this.#counters ??= new Map()
    const n = this.#counters.get(name) ?? 0
    this.#counters.set(name, n + 1)
    return `${name}#${n}`
  }

  get size(): number {
    return this.#open?.size ?? 0
  }

  has(key: string): boolean {
    return this.#open?.has(key) === true
  }

  /** `run` begins at once. `over` is told after whoever asked has the outcome. */
  ask({ key, shape, firm, run, over }: Asked): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#open ??= new Map()
      const open = this.#open
      const request: OpenRequest = { key, shape, firm, reject, stop: null }
      open.set(key, request)
      const end = (): boolean => open.get(key) === request && open.delete(key)
      try {
        run().then(
          (value) => {
            const ended = end()
            resolve(value)
            if (ended) over()
          },
          (error: unknown) => {
            const ended = end()
            reject(error)
            if (ended) over()
          },
        )
      } catch (error) {
        end()
        reject(error)
      }
    })
  }

  onStop(key: string, stop: () => Partial<Part>): void {
    const request = this.#open?.get(key)
    if (request !== undefined) request.stop = stop
  }

  get list(): OpenRequest[] {
    return this.#open === null ? [] : [...this.#open.values()]
  }

  /** Gives all of them up; what their work still brings is not heard any more. */
  drop(): OpenRequest[] {
    const all = this.list
    this.#open?.clear()
    return all
  }

  /** Place of a live result in the order of results; null to go on at once. */
  place(): Promise<void> | null {
    if (this.size < 2 && this.#delivery === null) return null
    this.#delivery ??= new Delivery(this.#clock)
    return this.#delivery.pass()
  }

  /** For a result whose entry is made now and which is handed over later: keeps the others back until then. */
  hold(): () => void {
    this.#delivery ??= new Delivery(this.#clock)
    return this.#delivery.hold()
  }
}

function ambiguous(name: string, key: string): RuntimeError {
  const isCall = name.startsWith('call:') || name.startsWith('query:')
  const example = isCall ? 'ctx.call(ref.op(message), { key: item.id })' : '{ key: item.id }'
  return new RuntimeError(
    'STEP_KEY_REQUIRED',
    `A second "${name}" began while "${key}" is open. Give parallel ones an explicit key: ${example}.`,
  )
}
