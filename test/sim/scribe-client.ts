/**
 * Who asks for streams and reads them live: from the first chunk on, at whatever node, and at another one from where it
 * was when that node dies or stops.
 */
import type { Call } from '../../server/definition/call.ts'
import type { StreamItem } from '../../server/observe/streams.ts'
import { StoreFailure } from '../../server/store/store.ts'
import { isRuntimeError } from '../../shared/error.ts'
import type { Machine } from './machine.ts'
import type { Outsider } from './outsider.ts'
import type { ScribeRequest } from './scribe-order.ts'

export class ScribeClient {
  readonly #outsider: Outsider

  constructor(outsider: Outsider) {
    this.#outsider = outsider
  }

  async ask({ to, order }: ScribeRequest): Promise<void> {
    await this.#start({ to, order })
    await this.#read(`scribe/${to}`, order.id)
  }

  async #start({ to, order }: Pick<ScribeRequest, 'to' | 'order'>): Promise<void> {
    for (;;) {
      const machine = await this.#outsider.machine()
      const call = machine.core.ref(machine.scribe, to).write(order) as unknown as Call<unknown> // made by a reference
      const begin = () => machine.core.messenger.begin(call, { idempotencyKey: order.id })
      const begun = await this.#outsider.asked(machine, `start ${order.id}`, begin).catch(() => null)
      if (begun !== null) return
      await this.#outsider.again()
    }
  }

  async #read(id: string, name: string): Promise<void> {
    const { observed } = this.#outsider.site
    const items: StreamItem[] = []
    observed.read.set(name, items)
    for (;;) {
      const machine = await this.#outsider.machine()
      if (await this.#readAt(machine, { id, name, items })) return
      await this.#outsider.again()
    }
  }

  /** True at the end of the stream. */
  async #readAt(
    machine: Machine,
    { id, name, items }: { id: string; name: string; items: StreamItem[] },
  ): Promise<boolean> {
    const from = (items.at(-1)?.offset ?? -1) + 1
    const reading = machine.core.streams.read(id, name, { from })
    for (;;) {
      const next = await this.#outsider
        .asked(machine, `read ${name}`, () => reading.next())
        .catch((error: unknown) => {
          if (error instanceof StoreFailure || isRuntimeError(error, 'RUNTIME_STOPPED')) return null
          throw error
        })
      if (next === null) return false
      // A reader whose node stops is let go without a word.
      if (next.value.done === true) return machine.alive
      items.push(next.value.value)
    }
  }
}
