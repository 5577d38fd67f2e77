/**
 * The sample of the documentation, compiled and run in CI: a cart that calls an inventory exactly once, records what it
 * asked a price service, and tells a mailer with the commit of its turn.
 */
import { agent, pool, supervisor } from 'vivarium'

export type Item = { sku: string; qty: number }
export type Receipt = { total: number; items: Item[] }

export const inventory = agent('inventory', {
  state: () => ({ stock: 100, reserved: 0 }),
  on: {
    reserve(ctx, qty: number): number {
      if (ctx.state.stock - ctx.state.reserved < qty) return 0
      ctx.state.reserved += qty
      return qty
    },
  },
  queries: { free: (state) => state.stock - state.reserved },
})

export const mailer = agent('mailer', {
  state: () => ({ sent: [] as Receipt[] }),
  on: {
    receipt(ctx, receipt: Receipt) {
      ctx.state.sent.push(receipt)
    },
  },
  queries: { count: (state) => state.sent.length },
})

export const cart = agent('cart', {
  version: 2,
  state: () => ({ items: [] as Item[], status: 'open' as 'open' | 'paid' }),
  on: {
    add(ctx, item: Item): number {
      ctx.state.items.push(item)
      return ctx.state.items.length
    },
    async checkout(ctx, card: { number: string }): Promise<Receipt> {
      // Asked once, whatever dies in between: the answer is in the journal before anything else happens.
      const price = await ctx.step('price', ({ idempotencyKey }) => quote(card.number, idempotencyKey), {
        retry: { max: 5 },
      })
      for (const { sku, qty } of ctx.state.items) {
        // A call between durable agents: exactly once.
        await ctx.ref(inventory, sku).reserve(qty)
      }
      const receipt = { total: price * ctx.state.items.length, items: [...ctx.state.items] }
      ctx.state.status = 'paid'
      // Visible to the mailer with the commit of this turn, or not at all.
      ctx.send(ctx.ref(mailer, 'main').receipt(receipt))
      return receipt
    },
  },
  queries: { total: (state) => state.items.length, status: (state) => state.status },
  // Version 1 had no status.
  upgrade: { 1: (old: { items: Item[] }) => ({ ...old, status: 'open' }) },
})

/** Stands for a service elsewhere: the key makes a repeated question harmless there. */
async function quote(card: string, idempotencyKey: string): Promise<number> {
  return card.length + (idempotencyKey.length > 0 ? 5 : 0)
}

export default supervisor('shop', {
  strategy: 'one_for_one',
  intensity: 3,
  periodMs: 5_000,
  children: [pool(cart), pool(inventory), mailer.spec({ key: 'main' })],
})
