/**
 * The open requests of a turn: what its code waits for, in the order in which it asked.
 *
 * - A key names a request on every replay: given by the code, or a counter per name.
 * - T5: results are handed over one per macrotask while several are open (delivery.ts).
 * - Y2: a request may be given up by a cancellation. From then on nothing of it is recorded; what its work still brings
 *   is dropped here.
 */
import { type ErrorData, errorFromData, RuntimeError } from '../../shared/error.ts'
import type { Clock } from '../kernel/clock-port.ts'
import { Delivery } from './delivery.ts'
import type { Shape } from './entry.ts'
import type { Part } from './record.ts'
import type { TurnScope } from './scope.ts'

export type OpenRequest = {
  readonly key: string
  readonly shape: Shape
  /** Short, and its outcome must be known: a cancellation waits for it (a checkpoint, a transaction, a start). */
  readonly firm: boolean
  /** The section of the turn in which it was made (scope.ts). */
  readonly scope: TurnScope | null
  reject(error: unknown): void
  /** Ends what was begun for it; returns what must leave with the news of that. */
  stop: ((reason: RuntimeError | null) => Partial<Part>) | null
}

type Asked = Pick<OpenRequest, 'key' | 'shape' | 'firm' | 'scope'> & { run: () => Promise<unknown>; over: () => void }

export class Requests {
  readonly #clock: Clock
  // Most turns need none of these: they are made when the first request asks for them.
  #counters: Map<string, number> | null = null
  #open: Map<string, OpenRequest> | null = null
  #delivery: Delivery | null = null
  readonly #told: { readonly request: OpenRequest; readonly err: ErrorData }[] = []

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

  /** `run` begins at once; what it brings once the request was given up is heard by nobody. `over` is told after
   *  whoever asked has the outcome. */
  ask({ key, shape, firm, scope, run, over }: Asked): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#open ??= new Map()
      const open = this.#open
      const request: OpenRequest = { key, shape, firm, scope, reject, stop: null }
      open.set(key, request)
      const end = (): boolean => open.get(key) === request && open.delete(key)
      try {
        run().then(
          (value) => {
            if (!end()) return
            resolve(value)
            over()
          },
          (error: unknown) => {
            if (!end()) return
            reject(error)
            over()
          },
        )
      } catch (error) {
        end()
        reject(error)
      }
    })
  }

  onStop(key: string, stop: (reason: RuntimeError | null) => Partial<Part>): void {
    const request = this.#open?.get(key)
    if (request !== undefined) request.stop = stop
  }

  get list(): OpenRequest[] {
    return this.#open === null ? [] : [...this.#open.values()]
  }

  /** Gives them up; what their work still brings is not heard any more. */
  drop(requests = this.list): OpenRequest[] {
    for (const { key } of requests) this.#open?.delete(key)
    return requests
  }

  /** T5: those that were given up hear it one per macrotask, as a replay does it, in the order in which they were;
   *  other results wait. `over`: nobody is there to hear any more. */
  tell(requests: readonly OpenRequest[], err: ErrorData, over: () => boolean): void {
    const isTelling = this.#told.length > 0
    this.#told.push(...requests.map((request) => ({ request, err })))
    if (isTelling) return
    const release = this.hold()
    const next = (): void => {
      const told = this.#told.shift()
      if (told === undefined) return release()
      if (over()) return
      told.request.reject(errorFromData(told.err))
      this.#clock.macrotask(next)
    }
    this.#clock.macrotask(next)
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
