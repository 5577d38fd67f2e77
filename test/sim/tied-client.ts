/** Who tells tied actors what to do: sends, each tried once; what was acknowledged must come to its end. */
import type { Call } from '../../server/definition/call.ts'
import type { Outsider } from './outsider.ts'
import type { TiedRequest } from './tied-order.ts'

export class TiedClient {
  readonly #outsider: Outsider

  constructor(outsider: Outsider) {
    this.#outsider = outsider
  }

  async ask({ to, order }: TiedRequest): Promise<void> {
    const { watch, observed } = this.#outsider.site
    const machine = await this.#outsider.machine()
    const call = machine.core.ref(machine.tied, to).run(order) as unknown as Call<unknown> // made by a reference
    const send = (): Promise<string> => machine.core.messenger.send(call)
    const stored = await this.#outsider.asked(machine, `tell ${order.id}`, send).then(
      (answer) => answer !== null,
      () => false,
    )
    if (!stored) return
    observed.accepted.add(order.id)
    if (!watch.isStored(order.id)) observed.violation(`client: ${order.id} was accepted, and it was not stored`)
  }
}
