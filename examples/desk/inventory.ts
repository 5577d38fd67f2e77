/**
 * `inventory/<sku>`: the shelf of one product. Units are in stock, reserved for an order, or sold; they only move.
 *
 * - stock + reserved + sold = initial, after every turn. `desk:check` proves it from the database.
 * - A reservation is absolute ("this order holds 3"), so asking twice changes nothing.
 */
import { agent } from 'vivarium'
import { z } from 'zod'
import { productOf } from './shop.ts'

export type InventoryState = {
  name: string
  initial: number
  stock: number
  reserved: number
  sold: number
  /** Units held per order. */
  holds: Record<string, number>
  /** Filled from the catalogue at the first activation. */
  stocked: boolean
}

const Hold = z.strictObject({ order: z.string().min(1), quantity: z.number().int().min(0) })
export type Hold = z.infer<typeof Hold>
export type Held = { ok: boolean; stock: number }

export const inventory = agent('inventory', {
  schemas: { reserve: Hold },
  state: (): InventoryState => ({ name: '', initial: 0, stock: 0, reserved: 0, sold: 0, holds: {}, stocked: false }),

  activated(ctx) {
    if (ctx.state.stocked) return
    const product = productOf(ctx.key)
    const units = product?.stock ?? 0
    Object.assign(ctx.state, { name: product?.name ?? '', initial: units, stock: units, stocked: true })
  },

  on: {
    /** Makes the order hold exactly `quantity` units, or leaves everything as it is. */
    reserve(ctx, { order, quantity }: Hold): Held {
      const shelf = ctx.state
      const more = quantity - (shelf.holds[order] ?? 0)
      if (more > shelf.stock) return { ok: false, stock: shelf.stock }
      shelf.stock -= more
      shelf.reserved += more
      shelf.holds[order] = quantity
      return { ok: true, stock: shelf.stock }
    },

    release(ctx, order: string): number {
      const shelf = ctx.state
      const held = shelf.holds[order] ?? 0
      shelf.stock += held
      shelf.reserved -= held
      delete shelf.holds[order]
      return held
    },

    ship(ctx, order: string): number {
      const shelf = ctx.state
      const held = shelf.holds[order] ?? 0
      shelf.sold += held
      shelf.reserved -= held
      delete shelf.holds[order]
      return held
    },

    look(ctx): number {
      return ctx.state.stock
    },
  },

  queries: {
    level: ({ stock, reserved, sold }) => ({ stock, reserved, sold }),
  },
})
