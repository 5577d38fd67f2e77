/**
 * `courier/north` and `courier/south`: take parcels out and say on the radio where they are.
 *
 * - Delivering takes a while, and that while is a durable timer: a parcel on the road survives a crash.
 * - Under chaos the van breaks down on the first try of every fourth parcel. The crash is charged to the message, which
 *   comes again after a moment; `ctx.message.attempt` says which time this is.
 */
import { agent } from 'vivarium'
import { roll } from './chance.ts'
import { radio } from './radio.ts'

export type Parcel = { order: string; address: string; chaos: boolean }

export type CourierState = {
  onTheRoad: Record<string, string>
  /** How often each order's parcel was handed over; 1 is right. */
  delivered: Record<string, number>
}

export const COURIERS = ['north', 'south'] as const

/** Milliseconds from depot to door. */
const ROAD_MS = 1_500
/** One parcel in so many breaks the van. */
const BREAKDOWN_ONE_IN = 4

export const courier = agent('courier', {
  passivateAfterMs: 'never',
  state: (): CourierState => ({ onTheRoad: {}, delivered: {} }),

  on: {
    take(ctx, { order, address, chaos }: Parcel): void {
      if (address === 'nowhere') throw new Error(`No road leads to the address of ${order}`)
      if (chaos && ctx.message.attempt === 1 && roll(order, BREAKDOWN_ONE_IN) === 0) {
        throw new Error(`The van of courier/${ctx.key} broke down with ${order} on board`)
      }
      ctx.state.onTheRoad[order] = address
      ctx.send(ctx.ref(radio, 'main').report({ courier: ctx.key, position: `on the way to ${address}` }))
      ctx.after(ROAD_MS, 'handOver', order, { name: `parcel ${order}` })
    },

    handOver(ctx, order: string): void {
      delete ctx.state.onTheRoad[order]
      ctx.state.delivered[order] = (ctx.state.delivered[order] ?? 0) + 1
      ctx.send(ctx.ref(radio, 'main').report({ courier: ctx.key, position: `at the door with ${order}` }))
    },
  },

  queries: {
    parcel: (state, order: string) => parcelOf(state, order),
    counts: ({ onTheRoad, delivered }) => ({
      onTheRoad: Object.keys(onTheRoad).length,
      delivered: Object.keys(delivered).length,
    }),
  },
})

/** Always the same courier for an order. */
export function courierOf(order: string): (typeof COURIERS)[number] {
  return roll(`courier of ${order}`, 2) === 0 ? 'north' : 'south'
}

function parcelOf(state: CourierState, order: string): 'depot' | 'on the road' | 'delivered' {
  if (state.delivered[order] !== undefined) return 'delivered'
  return state.onTheRoad[order] === undefined ? 'depot' : 'on the road'
}
