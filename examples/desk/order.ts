/**
 * `order/<id>`: one order from the shelf to the van. Reserve, charge, and ship by a timer.
 *
 * Read `place` as if nothing could fail. Each call and step is in the journal: after a crash the turn goes on behind
 * the last one that has an answer, so nothing is reserved or charged twice (docs/SPEC.md, T and M).
 */
import { agent, type Context } from 'vivarium'
import { authorise } from './bank.ts'
import { courier, courierOf } from './courier.ts'
import { inventory } from './inventory.ts'
import { ledger } from './ledger.ts'
import * as change from './order-change.ts'
import type { OrderState, Placed, Placing } from './order-state.ts'
import { newOrder, PATIENT, settled, totalOf } from './order-state.ts'
import { PRICE_RETRY, quote } from './price-service.ts'
import { type Answer, answer } from './say.ts'
import { archivedOrder, euros, productOf } from './shop.ts'

export const order = agent('order', {
  state: newOrder,

  /** Orders from before the desk opened come out of the archive when somebody asks for them. */
  activated(ctx) {
    const old = ctx.state.status === 'none' ? archivedOrder(ctx.key) : undefined
    if (old === undefined) return
    const lines = old.lines.map((line) => ({ ...line, cents: productOf(line.sku)?.priceCents ?? 0 }))
    Object.assign(ctx.state, { status: old.status, customer: old.customer, lines, archived: true })
  },

  on: {
    async place(ctx, placing: Placing): Promise<Placed> {
      const { customer, request, lines, address, conditions } = placing
      if (ctx.state.status !== 'none') return again(ctx, placing)

      const skus = lines.map(({ sku }) => sku)
      const prices = await ctx.step('price', (info) => quote(skus, info, conditions.chaos), { retry: PRICE_RETRY })
      Object.assign(ctx.state, { customer, request, address, chaos: conditions.chaos })
      ctx.state.lines = lines.map((line, at) => ({ ...line, cents: prices[at] ?? 0 }))

      for (const { sku, quantity } of lines) {
        const held = await ctx.call(ctx.ref(inventory, sku).reserve({ order: ctx.key, quantity }), PATIENT)
        if (!held.ok) return refuse(ctx, sku, held.stock)
      }

      const cents = totalOf(ctx.state)
      const { id } = await ctx.step('authorise', ({ idempotencyKey }) => authorise(cents, idempotencyKey))
      await ctx.call(ctx.ref(ledger, 'main').charge({ order: ctx.key, authorisation: id, cents }), PATIENT)

      ctx.state.status = 'paid'
      ctx.after(conditions.shipAfterMs, 'ship', null, { name: 'ship' })
      return settled('ordered', `Order ${ctx.key} is placed: ${listed(ctx.state)}, ${euros(cents)} in all.`)
    },

    /** The timer of `place`. An order that was cancelled in time stays where it is. */
    async ship(ctx): Promise<void> {
      if (ctx.state.status !== 'paid') return
      for (const { sku } of ctx.state.lines) await ctx.call(ctx.ref(inventory, sku).ship(ctx.key), PATIENT)
      const address = ctx.state.address ?? 'the address of the account'
      ctx.send(ctx.ref(courier, courierOf(ctx.key)).take({ order: ctx.key, address, chaos: ctx.state.chaos }))
      ctx.state.status = 'shipped'
    },

    async cancel(ctx): Promise<Answer> {
      const refusal = change.refusalOf(ctx.state, ctx.key)
      if (refusal !== null) return refusal
      ctx.cancel('ship')
      for (const { sku } of ctx.state.lines) await ctx.call(ctx.ref(inventory, sku).release(ctx.key), PATIENT)
      const cents = await ctx.call(ctx.ref(ledger, 'main').refund(ctx.key), PATIENT)
      ctx.state.status = 'cancelled'
      return answer('cancelled', `Order ${ctx.key} is cancelled, ${euros(cents)} go back to you.`)
    },

    changeQuantity: (ctx, wish: change.NewQuantity): Promise<Answer> => change.changeQuantity(ctx, wish),
    changeAddress: (ctx, address: string): Answer => change.changeAddress(ctx, address),
    giftWrap: (ctx): Answer => change.giftWrap(ctx),
    complain: (ctx): Answer => change.complain(ctx),
    openReturn: (ctx): Answer => change.openReturn(ctx),
    tell: (ctx, what: change.Question): Promise<Answer> => change.tell(ctx, what),
  },

  queries: {
    /** Null while nothing was bought under this number. */
    owner: (state): string | null => (state.status === 'refused' ? null : state.customer),
    summary: (state) => ({ status: state.status, lines: state.lines, totalCents: totalOf(state) }),
  },
})

/** The same wish once more (an operator redelivered it) is the order it is already; others find the number taken. */
function again({ state, key }: Context<OrderState>, { customer, request, lines }: Placing): Placed {
  const same = state.customer === customer && state.request === request && state.status === 'paid'
  const alike = (line: { sku: string; quantity: number }, at: number) => line.sku === lines[at]?.sku
  if (!same || state.lines.length !== lines.length || !state.lines.every(alike)) return { kind: 'taken' }
  return settled('ordered', `Order ${key} was placed before: ${listed(state)}.`)
}

/** All lines or none: what was put aside goes back. */
async function refuse(ctx: Context<OrderState>, sku: string, stock: number): Promise<Placed> {
  for (const line of ctx.state.lines) await ctx.call(ctx.ref(inventory, line.sku).release(ctx.key), PATIENT)
  ctx.state.status = 'refused'
  const name = productOf(sku)?.name ?? sku
  const left = stock === 0 ? 'none is left' : `only ${stock} are left`
  return settled('refused_out_of_stock', `We cannot take that order: of ${name} ${left}.`)
}

function listed(state: OrderState): string {
  return state.lines.map(({ sku, quantity }) => `${quantity} × ${productOf(sku)?.name ?? sku}`).join(', ')
}
