/**
 * A travel desk for tests of what operators do to turns: long operations with children, compensations, a step that
 * somebody outside completes, and a payment that a sandbox must not make.
 */
import { agent, pool, supervisor } from 'vivarium'

/** Milliseconds; nobody in a test waits for it. */
const HOURS_TWO = 7_200_000
/** Milliseconds until a turn that only waits leaves memory. */
const PASSIVATE_MS = 500

type Trip = { to: string; nights: number }

/** Never ends by itself: what an operator does to it is what is tested. */
export const hotel = agent('hotel', {
  state: () => ({ nights: 0 }),
  on: {
    async hold(ctx, nights: number): Promise<void> {
      ctx.state.nights = nights
      await ctx.sleep(HOURS_TWO)
    },
  },
})

export const trip = agent('trip', {
  state: () => ({ seat: null as string | null, receipt: null as unknown, approvedBy: null as string | null }),
  on: {
    /** Stops at the payment, which the bank never answers. */
    async book(ctx, { to }: Trip): Promise<void> {
      ctx.state.seat = await ctx.step('reserve seat', () => `12A to ${to}`)
      ctx.state.receipt = await ctx.step(
        'charge card',
        ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      )
    },
    async plan(ctx, { to, nights }: Trip): Promise<void> {
      ctx.onRollback('release the seat', () => {})
      ctx.onRollback('release the room', () => {})
      await ctx.step('reserve seat', () => `12A to ${to}`)
      await ctx.start(hotel, `${ctx.key}-first`, 'hold', nights, { parentClose: 'stop' })
      await ctx.start(hotel, `${ctx.key}-second`, 'hold', nights, { parentClose: 'wait' })
      await ctx.sleep(HOURS_TWO)
    },
    /** Somebody outside says who approved it, within two hours. */
    async approve(ctx): Promise<void> {
      const by = ctx.step('manager approves', () => {}, { external: true, totalMs: HOURS_TWO })
      ctx.state.approvedBy = String(await by)
    },
  },
  passivateAfterMs: PASSIVATE_MS,
})

export const travel = supervisor('travel', { strategy: 'one_for_one', children: [pool(trip), pool(hotel)] })
